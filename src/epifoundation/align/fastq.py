"""FASTQ files of one library: their lanes, and their records read in step and checked."""

import gzip
import io
import logging
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd

from epifoundation.errors import AlignError

logger = logging.getLogger(__name__)

RECORDS_PER_BLOCK = 50_000  # about 20 MB of text in three files
READS = {"gex": ("R1", "R2"), "atac": ("R1", "R2", "R3")}


@dataclass(frozen=True)
class Lane:
    """The files of one lane by read name, e.g. R1, R2, R3."""

    name: str
    files: dict[str, Path]


def lanes_of(manifest: pd.DataFrame, library: str, folder: Path) -> list[Lane]:
    """Return the lanes of `library` (gex or atac), in the order of the manifest.

    `manifest` follows contracts.MANIFEST; its files lie in `folder`.
    """
    rows = manifest[manifest["library"] == library]
    lanes = []
    for name, group in rows.groupby("lane", sort=False):
        files = {
            str(read): folder / str(file)
            for read, file in zip(group["read"], group["file"], strict=True)
        }
        wanted = READS[library]
        missing = [read for read in wanted if read not in files]
        if missing:
            message = (
                f"{folder}: lane {name} of the {library} library has no {' and '.join(missing)}"
                f" (found {', '.join(files)}). Check the read roles in the manifest."
            )
            raise AlignError(message)
        lanes.append(Lane(str(name), {read: files[read] for read in wanted}))
    if not lanes:
        message = f"{folder}: the manifest lists no {library} file; both libraries are needed."
        raise AlignError(message)
    return lanes


def read_blocks(path: Path, records_per_block: int = RECORDS_PER_BLOCK) -> Iterator[list[bytes]]:
    """Yield blocks of whole records: four lines each, every line with its newline."""
    n_records = 0
    try:
        with gzip.open(path) as unzipped, io.BufferedReader(unzipped, 1 << 20) as handle:
            while lines := list(islice(handle, 4 * records_per_block)):
                if not lines[-1].endswith(b"\n"):
                    lines[-1] += b"\n"
                _check_block(lines, path, n_records)
                n_records += len(lines) // 4
                yield lines
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        message = (
            f"{path} is damaged, at some point after its first {n_records:,} reads ({error})."
            " It was cut short or altered: download it again."
        )
        raise AlignError(message) from error
    if n_records == 0:
        message = f"{path} holds no read. Download it again, or check its source."
        raise AlignError(message)


def _check_block(lines: list[bytes], path: Path, before: int) -> None:
    """Raise AlignError unless the block consists of whole records."""
    heads, marks = lines[0::4], lines[2::4]
    whole = len(lines) % 4 == 0 and len(lines[-3]) == len(lines[-1])
    if whole and all(map(_is_head, heads)) and all(map(_is_mark, marks)):
        return
    if len(lines) % 4 or len(lines[-3]) != len(lines[-1]):
        message = (
            f"{path} ends within a record, after {before + (len(lines) - 1) // 4:,} whole ones."
            " It was cut short: download it again."
        )
        raise AlignError(message)
    first = next(
        i
        for i, (h, m) in enumerate(zip(heads, marks, strict=True))
        if not (_is_head(h) and _is_mark(m))
    )
    message = (
        f"{path} is no FASTQ at record {before + first + 1:,}"
        f" (first line {heads[first][:40].decode(errors='replace').strip()!r})."
        " Download it again, or check its source."
    )
    raise AlignError(message)


def _is_head(line: bytes) -> bool:
    return line.startswith(b"@")


def _is_mark(line: bytes) -> bool:
    return line.startswith(b"+")


def read_in_step(
    files: Sequence[Path], records_per_block: int = RECORDS_PER_BLOCK
) -> Iterator[list[list[bytes]]]:
    """Yield one block of each file at a time; the files must hold the same reads in one order."""
    readers = [read_blocks(path, records_per_block) for path in files]
    n_records = 0
    while True:
        blocks = [next(reader, []) for reader in readers]
        lengths = [len(block) // 4 for block in blocks]
        if len(set(lengths)) > 1:
            raise _different_lengths(files, readers, [n_records + n for n in lengths])
        if not blocks[0]:
            return
        _check_names(files, blocks, n_records)
        n_records += lengths[0]
        yield blocks


def _different_lengths(
    files: Sequence[Path], readers: Sequence[Iterator[list[bytes]]], counts: list[int]
) -> AlignError:
    totals = [
        n + sum(len(b) // 4 for b in reader) for n, reader in zip(counts, readers, strict=True)
    ]
    listed = ", ".join(f"{path.name} {n:,}" for path, n in zip(files, totals, strict=True))
    message = (
        f"{files[0].parent}: files of one lane hold different numbers of reads ({listed})."
        " Download them again, or check that they are of one run."
    )
    return AlignError(message)


def _check_names(files: Sequence[Path], blocks: list[list[bytes]], before: int) -> None:
    """Raise AlignError where the first or last reads of the blocks have different names."""
    for line, record in ((0, 1), (-4, len(blocks[0]) // 4)):
        names = [_name(block[line]) for block in blocks]
        if len(set(names)) > 1:
            listed = ", ".join(
                f"{path.name} {name}" for path, name in zip(files, names, strict=True)
            )
            message = (
                f"{files[0].parent}: read {before + record:,} has different names ({listed})."
                " The files are sorted differently or not of one run."
            )
            raise AlignError(message)


def _name(line: bytes) -> str:
    name = line[1:].split(maxsplit=1)[0] if len(line) > 2 else b""
    return name.removesuffix(b"/1").removesuffix(b"/2").removesuffix(b"/3").decode()


def check_lanes(lanes: Sequence[Lane], threads: int) -> int:
    """Read every file of the lanes to its end; return the number of reads (of one file each)."""
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:  # zlib releases the GIL
        totals = list(pool.map(_count_in_step, [list(lane.files.values()) for lane in lanes]))
    for lane, total in zip(lanes, totals, strict=True):
        logger.info("lane %s: %s reads, files whole", lane.name, f"{total:,}")
    return sum(totals)


def _count_in_step(files: Sequence[Path]) -> int:
    return sum(len(blocks[0]) // 4 for blocks in read_in_step(files))
