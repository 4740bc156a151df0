"""FASTQ of archived runs and of Cell Ranger's BAM; roles and pairing told by content."""

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from file_server import FileServer
from multiome_reads import Multiome, barcode_lists

from epifoundation.acquire.content import BarcodeList, read_lists
from epifoundation.acquire.download import download
from epifoundation.acquire.resolve import Accessions, resolve
from epifoundation.config import AcquireConfig
from epifoundation.errors import AcquireError, ToolError

SETTINGS = AcquireConfig(catalogue=None, parallel_downloads=3, retries=0, keep_fastq=False)
PROGRAMS = Path(__file__).parents[2] / "stand_ins" / "bin"
ATAC = ("R1", "R2", "R3")
PAIRS = [("gex", "R1"), ("gex", "R2"), *(("atac", read) for read in ATAC)]


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(scope="module")
def barcodes() -> tuple[list[bytes], list[bytes]]:
    return barcode_lists(np.random.default_rng(0))


@pytest.fixture(scope="module")
def lists(
    barcodes: tuple[list[bytes], list[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, BarcodeList]:
    folder = tmp_path_factory.mktemp("lists")
    for name, words in zip(("gex", "atac"), barcodes, strict=True):
        (folder / f"{name}.txt.gz").write_bytes(gzip.compress(b"\n".join(words)))
    return read_lists(folder / "gex.txt.gz", folder / "atac.txt.gz")


@pytest.fixture(scope="module")
def multiome(barcodes: tuple[list[bytes], list[bytes]]) -> Multiome:
    return Multiome.make(barcodes, 500, np.random.default_rng(1))


def put(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def addresses(folder: Path, *names: str) -> str:
    return " ".join((folder / name).as_uri() for name in names)


def all_fastq(multiome: Multiome) -> dict[str, bytes]:
    return {f"s_S1_L001_{r}_001.fastq.gz": multiome.fastq("gex", r) for r in ("R1", "R2")} | {
        f"a_S1_L001_{r}_001.fastq.gz": multiome.fastq("atac", r) for r in ATAC
    }


def sequences(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).split(b"\n")[1::4]


def expect(folder: Path, multiome: Multiome) -> None:
    for library, read in PAIRS:
        found = sequences(folder / f"{library}_L001_{read}.fastq.gz")
        assert found == [bases for bases, _ in multiome.reads[library, read]], (library, read)
    assert len(list(folder.iterdir())) == 5


def test_archived_run_and_bam_become_fastq_with_roles(
    multiome: Multiome, lists: dict[str, BarcodeList], tmp_path: Path
) -> None:
    source = tmp_path / "archive"
    put(source, {"SRR2.sra": multiome.archived_run("atac", "R2")})
    put(source, {"gex.possorted.bam.1": multiome.bam(tmp_path / "x.bam")})
    sample = Accessions(
        "s", "URL", addresses(source, "gex.possorted.bam.1"), addresses(source, "SRR2.sra")
    )
    manifest = resolve(sample, SETTINGS, lists=lists)
    assert list(manifest["file"]) == ["gex_gex.bam", "atac_SRR2.sra"]
    reads = download(manifest, tmp_path / "s", SETTINGS, lists=lists, threads=2)
    expect(tmp_path / "s", multiome)
    assert list(reads["file"]) == [f"{lib}_L001_{read}.fastq.gz" for lib, read in PAIRS]
    assert list(reads["origin"].unique()) == ["gex.possorted.bam.1", "SRR2.sra"]


def test_killed_before_the_folder_moves_nothing_is_made_or_fetched_again(
    multiome: Multiome,
    lists: dict[str, BarcodeList],
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.files["/SRR2.sra"] = multiome.archived_run("atac", "R2")
    put(tmp_path / "gex", all_fastq(multiome))
    gex = addresses(tmp_path / "gex", *(n for n in all_fastq(multiome) if n.startswith("s_")))
    sample = Accessions("s", "URL", gex, f"{server.url}/SRR2.sra")
    manifest = resolve(sample, SETTINGS, lists=lists)
    server.asked.clear()
    rename = Path.rename

    def killed(path: Path, target: Path) -> Path:
        if path.name == ".incoming-s":
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            download(manifest, tmp_path / "s", SETTINGS, lists=lists)
    monkeypatch.setenv("PATH", "/nowhere")  # no program is needed any more
    done = tmp_path / ".incoming-s"
    assert not (done / "atac_SRR2.sra").exists()
    download(manifest, tmp_path / "s", SETTINGS, lists=lists)
    expect(tmp_path / "s", multiome)
    assert len(server.asked) == 1


@pytest.mark.skipif(
    not all(map(shutil.which, ("sharq", "general-loader", "kar"))),
    reason="sra-tools with its loaders are not installed",
)
def test_the_real_fasterq_dump_gives_technical_reads(
    multiome: Multiome,
    lists: dict[str, BarcodeList],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"].removeprefix(f"{PROGRAMS}{os.pathsep}"))
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path, {f"{read}.fastq": multiome.text("atac", read) for read in ATAC})
    files = " ".join(f"--read{i}PairFiles {tmp_path}/R{i}.fastq" for i in (1, 2, 3))
    script = (
        f"sharq --platform ILLUMINA --readTypes BTB {files} | general-loader"
        f" --include . --schema sra/generic-fastq.vschema --target {tmp_path}/run"
        f" && kar --create {tmp_path}/SRR2.sra --directory {tmp_path}/run"
    )
    subprocess.run(script, shell=True, check=True, cwd="/usr/lib/ncbi-vdb", capture_output=True)
    put(tmp_path / "gex", all_fastq(multiome))
    gex = addresses(tmp_path / "gex", *(n for n in all_fastq(multiome) if n.startswith("s_")))
    sample = Accessions("s", "URL", gex, addresses(tmp_path, "SRR2.sra"))
    download(resolve(sample, SETTINGS), tmp_path / "s", SETTINGS, lists=lists, threads=2)
    expect(tmp_path / "s", multiome)


def one_sra(folder: Path, content: bytes, url: str | None = None) -> pd.DataFrame:
    put(folder, {"SRR2.sra": content})
    row = {"file": "atac_SRR2.sra", "url": url or (folder / "SRR2.sra").as_uri(), "md5": ""}
    row |= {"bytes": len(content), "library": "atac", "lane": "SRR2", "read": "", "route": "sra"}
    return pd.DataFrame([row | {"origin": "SRR2"}])


def test_run_that_no_server_gives_is_prefetched(
    multiome: Multiome,
    lists: dict[str, BarcodeList],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = multiome.archived_run("atac", "R2")
    manifest = one_sra(tmp_path / "runs", run, "prefetch:SRR2")
    monkeypatch.setenv("STAND_IN_RUNS", str(tmp_path / "runs"))
    reads = download(manifest, tmp_path / "s", SETTINGS, lists=lists)
    assert list(reads["read"]) == list(ATAC)
    (tmp_path / "runs" / "SRR2.sra").unlink()
    with pytest.raises(ToolError, match="prefetch failed with code 1: .*cannot get SRR2"):
        download(manifest, tmp_path / "t", SETTINGS, lists=lists)


def test_archived_run_without_its_barcode_read_says_what_would_do(
    multiome: Multiome, lists: dict[str, BarcodeList], tmp_path: Path
) -> None:
    reads = {key: value for key, value in multiome.reads.items() if key != ("atac", "R2")}
    manifest = one_sra(tmp_path, Multiome(reads).archived_run("atac", ""))
    with pytest.raises(AcquireError) as caught:
        download(manifest, tmp_path / "s", SETTINGS, lists=lists)
    message = str(caught.value)
    assert message.startswith("SRR2: the ATAC barcode read (16 or 24 bases) is lacking. Found:")
    assert "The original FASTQ files or the Cell Ranger BAM would do" in message
    assert (tmp_path / ".incoming-s" / "atac_SRR2.sra").exists()


def test_bam_of_another_program_says_what_would_do(
    multiome: Multiome, lists: dict[str, BarcodeList], tmp_path: Path
) -> None:
    content = multiome.bam(tmp_path / "x.bam", untouched=False)
    manifest = one_sra(tmp_path, content).assign(route="bam", file="gex_x.bam", library="gex")
    with pytest.raises(ToolError, match="bamtofastq failed .* untouched one of Cell Ranger"):
        download(manifest, tmp_path / "s", SETTINGS, lists=lists)


@pytest.mark.parametrize(("other", "message"), [
    ("#!/bin/sh\necho This is biobambam2 version 2.0", "is another program of that name"),
    (None, "bamtofastq is not on PATH. 10x's program of that name comes with cellranger-arc"),
])  # fmt: skip
def test_only_the_bamtofastq_of_10x_is_taken(
    multiome: Multiome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    other: str | None,
    message: str,
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    if other:
        (programs / "bamtofastq").write_text(other)
        (programs / "bamtofastq").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    manifest = one_sra(tmp_path, multiome.bam(tmp_path / "x.bam"))
    manifest = manifest.assign(route="bam", file="gex_x.bam", library="gex")
    with pytest.raises(ToolError, match=message):
        download(manifest, tmp_path / "s", SETTINGS)


def test_exchanged_reads_are_told_by_content(
    multiome: Multiome, lists: dict[str, BarcodeList], tmp_path: Path
) -> None:
    files = all_fastq(multiome)
    rows = [{"accession": "A", "file": name, "url": name, "bytes": len(body), "md5": "0" * 32}
            for name, body in files.items()]  # fmt: skip
    index = pd.DataFrame(rows).assign(lane="L001", read_length="")
    index["library"] = ["gex" if n.startswith("s_") else "atac" for n in index["file"]]
    wrong = {"s_R1": "R2", "s_R2": "R1", "a_R1": "R2", "a_R2": "R1", "a_R3": "R3"}
    index["read"] = [wrong[n[0] + n[9:12]] for n in index["file"]]
    put(tmp_path / "own", files)
    index.to_csv(tmp_path / "own" / "index.tsv", sep="\t", index=False)
    settings = SETTINGS.model_copy(update={"catalogue": str(tmp_path / "own")})
    found = resolve(Accessions("s", "catalogue", "A", "A"), settings, lists=lists)
    given = [url.rpartition("_L001_")[2][:2] for url in found["url"]]
    assert given == list(found["read"]) == ["R1", "R2", "R1", "R2", "R3"]


def test_reads_of_another_kit_and_wrong_pairs_are_refused(
    multiome: Multiome,
    barcodes: tuple[list[bytes], list[bytes]],
    lists: dict[str, BarcodeList],
    tmp_path: Path,
) -> None:
    put(tmp_path / "a", all_fastq(multiome))
    other = Multiome.make(barcodes, 500, np.random.default_rng(2))
    put(tmp_path / "b", all_fastq(other))
    kit = Multiome.make(barcode_lists(np.random.default_rng(3)), 500, np.random.default_rng(1))
    put(tmp_path / "c", all_fastq(kit))
    gex = [n for n in all_fastq(multiome) if n.startswith("s_")]
    atac = [n for n in all_fastq(multiome) if n.startswith("a_")]

    def sample(first: str, second: str) -> Accessions:
        pair = addresses(tmp_path / first, *gex), addresses(tmp_path / second, *atac)
        return Accessions("s", "URL", *pair)

    assert len(resolve(sample("a", "a"), SETTINGS, lists=lists)) == 5
    with pytest.raises(AcquireError, match="not of the same cells: of 2.. GEX and 2.. ATAC"):
        resolve(sample("a", "b"), SETTINGS, lists=lists)
    with pytest.raises(AcquireError, match="begins or ends with 10x Multiome's GEX barcodes.*kit"):
        resolve(sample("c", "a"), SETTINGS, lists=lists)


@pytest.mark.parametrize(("address", "message"), [
    ("{}/a.fastq.gz#md5=12", "after # stands md5="),
    ("{}/absent.fastq.gz", "the server answered 404"),
    ("file:///absent.fastq.gz", "does not exist or is no file"),
    ("{}/empty.fastq.gz", "does not say how large it is, or it is empty"),
])  # fmt: skip
def test_wrong_addresses_are_explained(
    server: FileServer, tmp_path: Path, address: str, message: str
) -> None:
    server.files["/empty.fastq.gz"] = b""
    sample = Accessions("s", "URL", address.format(server.url), "file:///x")
    with pytest.raises(AcquireError, match=f"sample s: .*{message}"):
        resolve(sample, SETTINGS)
