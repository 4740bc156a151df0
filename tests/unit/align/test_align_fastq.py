"""FASTQ files that are not what they should be are named, with what is wrong and how much."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from epifoundation.align.fastq import Lane, check_lanes, lanes_of, read_blocks, read_in_step
from epifoundation.errors import AlignError


def text_of(n_reads: int, *, first: int = 0) -> bytes:
    return b"".join(b"@r%d 1:N\nACGT\n+\nFFFF\n" % i for i in range(first, first + n_reads))


def write(path: Path, text: bytes) -> Path:
    path.write_bytes(gzip.compress(text))
    return path


def read_all(path: Path) -> list[bytes]:
    return [line for block in read_blocks(path, 7) for line in block]


def test_reads_whole_records(tmp_path: Path) -> None:
    lines = read_all(write(tmp_path / "a.fastq.gz", text_of(20)[:-1]))  # no newline at the end
    assert b"".join(lines) == text_of(20)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(gzip.compress(text_of(5_000))[:-40], "is damaged", id="cut gzip"),
        pytest.param(gzip.compress(text_of(5_000))[:-4], "is damaged", id="no gzip trailer"),
        pytest.param(b"nothing gzipped", "is damaged", id="no gzip"),
        pytest.param(gzip.compress(text_of(20)[:-7]), "within a record, after 19 whole", id="part"),
        pytest.param(
            gzip.compress(text_of(20)[:-3]), "within a record, after 19 whole", id="short"
        ),
        pytest.param(gzip.compress(b""), "holds no read", id="empty"),
        pytest.param(b"", "holds no read", id="empty file"),
        pytest.param(
            gzip.compress(text_of(9) + b">x\nA\nC\nG\n" + text_of(3)),
            r"no FASTQ at record 10 \(first line '>x'\)",
            id="fasta",
        ),
    ],
)
def test_damaged_file(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad_R1.fastq.gz"
    path.write_bytes(content)
    with pytest.raises(AlignError, match=rf"bad_R1.fastq.gz .*{message}"):
        read_all(path)


def test_files_of_different_length(tmp_path: Path) -> None:
    files = {
        "R1": write(tmp_path / "a_R1.fastq.gz", text_of(30)),
        "R2": write(tmp_path / "a_R2.fastq.gz", text_of(26)),
    }
    with pytest.raises(AlignError, match=r"numbers of reads \(a_R1.* 30, a_R2.* 26\)"):
        check_lanes([Lane("L1", files)], threads=2)


def test_files_of_different_reads(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a_R1.fastq.gz", text_of(30)),
        write(tmp_path / "a_R2.fastq.gz", text_of(30, first=1)),
    ]
    with pytest.raises(AlignError, match=r"read 1 has different names \(.* r0, .* r1\)"):
        list(read_in_step(files))


def test_names_may_end_in_read_numbers(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a_R1.fastq.gz", b"@x/1\nA\n+\nF\n"),
        write(tmp_path / "a_R2.fastq.gz", b"@x/2\nA\n+\nF\n"),
    ]
    assert len(list(read_in_step(files))) == 1


@pytest.mark.parametrize(
    ("reads", "library", "message"),
    [
        pytest.param(["R1", "R2"], "atac", "lane L1 of the atac library has no R3", id="no R3"),
        pytest.param(["R1", "R2"], "gex", "the manifest lists no gex file", id="no library"),
    ],
)
def test_incomplete_manifest(reads: list[str], library: str, message: str) -> None:
    rows = [(f"x_{read}.fastq.gz", "atac", "L1", read) for read in reads]
    manifest = pd.DataFrame(rows, columns=["file", "library", "lane", "read"])
    with pytest.raises(AlignError, match=message):
        lanes_of(manifest, library, Path("fastq"))
