"""Aligned pairs as they come from bwa: which are usable, and each as one sortable integer.

A pair becomes the key start (31 bits), length (13 bits), barcode's line (20 bits): sorted keys are
sorted fragments, and equal keys are duplicates. Keys are spilled to a file per contig, so memory is
bounded by the largest contig.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from epifoundation.files import progress_line

logger = logging.getLogger(__name__)

# Tn5 duplicates 9 bp: cut sites lie 4 bp inside of one end and 5 bp inside of the other
# (Buenrostro et al. 2013); Cell Ranger's fragments are shifted alike.
SHIFT_LEFT_BP = 4
SHIFT_RIGHT_BP = -5
MAX_FRAGMENT_BP = 5000  # a longer pair counts as chimeric
LENGTH_BITS, LINE_BITS = 13, 20
SAM_BLOCK_BYTES = 4 << 20
UNMAPPED, REVERSE, NOT_PRIMARY = 0x4, 0x10, 0x900  # SAM flags
SAM_COLUMNS = {
    "line": pl.Int32,  # the read's name is its barcode's line
    "flag": pl.Int32,
    "contig": pl.String,
    "position": pl.Int32,
    "quality": pl.Int32,
    "cigar": pl.String,
    "mate_contig": pl.String,
    "mate_position": pl.Int32,
    "length": pl.Int32,
    "bases": pl.String,
    "base_qualities": pl.String,
}
SAM_NEEDED = ["line", "flag", "contig", "position", "quality", "length"]

Counts = NDArray[np.int64]


@dataclass
class Tally:
    """Numbers of read pairs by barcode (line of the list), while they stream by.

    A pair counts once, in the first of unmapped, low mapping quality and chimeric (two contigs,
    wrong orientation or over 5,000 bp) that applies, or in none.
    """

    n_barcodes: int
    raw: Counts = field(init=False)
    unmapped: Counts = field(init=False)
    low_quality: Counts = field(init=False)
    chimeric: Counts = field(init=False)
    n_read: int = 0

    def __post_init__(self) -> None:
        for name in ("raw", "unmapped", "low_quality", "chimeric"):
            setattr(self, name, np.zeros(self.n_barcodes, np.int64))

    def add(self, name: str, lines: NDArray[np.int32]) -> None:
        counts = getattr(self, name)
        counts += np.bincount(lines, minlength=self.n_barcodes)


def spill_fragments(
    sam: IO[bytes], folder: Path, tally: Tally, min_mapping_quality: int, n_pairs: int
) -> list[str]:
    """Append the key of each usable pair to a file per contig; return the names of the contigs."""
    start = reported = time.monotonic()
    contigs, rest = _read_header(sam)
    contig_number = pl.Enum([*contigs, "*"])
    left_over = pl.DataFrame(
        schema={**{n: SAM_COLUMNS[n] for n in SAM_NEEDED}, "contig": contig_number}
    )
    n_done = 0
    for block in _whole_lines(sam, rest):
        rows = pl.concat([left_over, _parse_sam(block, contig_number)])
        left_over = rows[rows.height // 2 * 2 :]
        n_done += rows.height // 2
        _spill_pairs(rows[0 : rows.height // 2 * 2], folder, tally, min_mapping_quality)
        if time.monotonic() - reported > 10:
            reported = time.monotonic()
            logger.info("%s", progress_line("pairs aligned", n_done, n_pairs, reported - start))
    logger.info("pairs aligned: %s in %.1f s", f"{n_done:,}", time.monotonic() - start)
    return contigs


def _read_header(sam: IO[bytes]) -> tuple[list[str], bytes]:
    """Return the contigs of a SAM stream, in order, and the first line after its header."""
    contigs = []
    line = sam.readline()
    while line.startswith(b"@"):
        if line.startswith(b"@SQ"):
            fields = dict(word.split(":", 1) for word in line.decode().rstrip().split("\t")[1:])
            contigs.append(fields["SN"])
        line = sam.readline()
    return contigs, line


def _whole_lines(stream: IO[bytes], rest: bytes) -> Iterator[bytes]:
    while block := stream.read(SAM_BLOCK_BYTES):
        text, newline, rest_of_line = (rest + block).rpartition(b"\n")
        rest = rest_of_line
        if newline:
            yield text + newline
    if rest:
        yield rest


def _parse_sam(block: bytes, contig_number: pl.Enum) -> pl.DataFrame:
    """Return the columns `SAM_NEEDED` of the primary alignments, in order."""
    rows = pl.read_csv(
        block,
        separator="\t",
        has_header=False,
        schema={**SAM_COLUMNS, "contig": contig_number},
        columns=[list(SAM_COLUMNS).index(name) for name in SAM_NEEDED],
        quote_char=None,
        truncate_ragged_lines=True,
    )
    return rows.filter(pl.col("flag") & NOT_PRIMARY == 0)


def _spill_pairs(rows: pl.DataFrame, folder: Path, tally: Tally, min_mapping_quality: int) -> None:
    columns = {name: rows[name].to_physical().to_numpy() for name in SAM_NEEDED}
    first = {name: values[0::2] for name, values in columns.items()}
    second = {name: values[1::2] for name, values in columns.items()}
    assert np.array_equal(first["line"], second["line"]), "bwa's output is not in pairs"
    line = first["line"]
    unmapped = ((first["flag"] | second["flag"]) & UNMAPPED) > 0
    low = ~unmapped & (np.minimum(first["quality"], second["quality"]) < min_mapping_quality)
    # the mate on the forward strand has the start; its length reaches to the other's end
    forward = (first["flag"] & REVERSE) == 0
    position = np.where(forward, first["position"], second["position"])
    length = np.where(forward, first["length"], second["length"])
    facing = ((first["flag"] ^ second["flag"]) & REVERSE) > 0
    near = (length > SHIFT_LEFT_BP - SHIFT_RIGHT_BP) & (length <= MAX_FRAGMENT_BP)
    chimeric = ~unmapped & ~low & ~(facing & near & (first["contig"] == second["contig"]))
    for name, which in (("unmapped", unmapped), ("low_quality", low), ("chimeric", chimeric)):
        tally.add(name, line[which])
    good = ~(unmapped | low | chimeric)
    start = position[good].astype(np.uint64) - np.uint64(1) + np.uint64(SHIFT_LEFT_BP)
    extent = (length[good] - SHIFT_LEFT_BP + SHIFT_RIGHT_BP).astype(np.uint64)
    keys = (start << np.uint64(LENGTH_BITS)) | extent
    keys = (keys << np.uint64(LINE_BITS)) | line[good].astype(np.uint64)
    contig = first["contig"][good]
    order = np.argsort(contig, kind="stable")
    numbers, begins = np.unique(contig[order], return_index=True)
    for number, part in zip(numbers, np.split(keys[order], begins[1:]), strict=True):
        with (folder / str(number)).open("ab") as handle:
            part.tofile(handle)
