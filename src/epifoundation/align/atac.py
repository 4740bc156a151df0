"""ATAC reads to fragments: barcodes corrected, reads aligned, duplicates collapsed.

Nothing but the fragments is kept: corrected reads are streamed into `bwa mem`, its SAM is parsed
as it comes, and each usable pair becomes one integer that sorts by start, end and barcode. The
integers are spilled by contig, so that memory is bounded by the largest contig.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from epifoundation import __version__
from epifoundation.align.barcodes import Layout, Whitelist, correct, count_exact, detect_layout
from epifoundation.align.fastq import Lane, read_in_step
from epifoundation.align.tools import BGZIP, BWA, TABIX, filter_through, run_program, write_through
from epifoundation.errors import AlignError
from epifoundation.files import progress_line

logger = logging.getLogger(__name__)

# Tn5 duplicates 9 bp: cut sites lie 4 bp inside of one end and 5 bp inside of the other
# (Buenrostro et al. 2013); Cell Ranger's fragments are shifted alike.
SHIFT_LEFT_BP = 4
SHIFT_RIGHT_BP = -5
MAX_FRAGMENT_BP = 5000  # a longer pair counts as chimeric
LENGTH_BITS, LINE_BITS = 13, 20  # of a fragment's key; the start has the other 31
BATCH_BASES = 20_000_000  # bwa -K: pairing statistics must not depend on the number of threads
SAM_BLOCK_BYTES = 16 << 20
LINES_PER_WRITE = 1_000_000
PAIRED, UNMAPPED, REVERSE, READ1, NOT_PRIMARY = 0x1, 0x4, 0x10, 0x40, 0x900
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


@dataclass(frozen=True)
class AtacReads:
    """Numbers of read pairs by barcode (line of the list); of `fragments`, unique fragments.

    A pair counts once, in the first of unmapped, low mapping quality, chimeric (two contigs, wrong
    orientation or over 5,000 bp) that applies; what remains is a fragment or its duplicate.
    """

    raw: Counts
    unmapped: Counts
    low_quality: Counts
    chimeric: Counts
    duplicates: Counts
    mitochondrial: Counts
    fragments: Counts
    n_read: int  # all pairs, with or without a barcode of the list


@dataclass
class _Tally:
    """Counts by barcode while reads stream by."""

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


def make_fragments(
    lanes: Sequence[Lane],
    whitelists: tuple[Whitelist, Whitelist],
    index: Path,
    output: Path,
    *,
    sample: str,
    min_mapping_quality: int,
    mitochondrial: str,
    threads: int,
    scratch: Path,
) -> AtacReads:
    """Write the fragments of a library to `output` (.tsv.gz, and .tbi) and return its read counts.

    `whitelists` are GEX and ATAC, paired by line; fragments carry the GEX barcode. `index` is the
    prefix of the bwa index. All contigs are kept, in the order of the index, the mitochondrial one
    too: what to leave out is for the steps that read the file. Duplicates are pairs of one barcode
    with the same start and end; column 5 counts them.
    """
    gex, atac = whitelists
    layouts = [detect_layout(lane.files["R2"], atac) for lane in lanes]
    counts, n_pairs = count_exact(lanes, layouts, atac)
    tally = _Tally(len(atac))
    reads = _corrected_pairs(lanes, layouts, atac, counts, tally)
    arguments: list[str | Path] = [
        "mem",
        "-p",
        "-t",
        str(threads),
        "-K",
        str(BATCH_BASES),
        index,
        "-",
    ]
    spill = scratch / "fragments"
    spill.mkdir()
    with filter_through(BWA, arguments, reads) as sam:
        contigs = _spill_fragments(sam, spill, tally, min_mapping_quality, n_pairs)
    logger.info(
        "barcodes: %s of %s pairs have one of the list after correction",
        f"{tally.raw.sum():,}",
        f"{tally.n_read:,}",
    )
    fragments, duplicates, mito = _write_fragments(
        spill, contigs, gex, output, sample=sample, mitochondrial=mitochondrial, threads=threads
    )
    return AtacReads(
        raw=tally.raw,
        unmapped=tally.unmapped,
        low_quality=tally.low_quality,
        chimeric=tally.chimeric,
        duplicates=duplicates,
        mitochondrial=mito,
        fragments=fragments,
        n_read=tally.n_read,
    )


def _corrected_pairs(
    lanes: Sequence[Lane],
    layouts: Sequence[Layout],
    whitelist: Whitelist,
    counts: Counts,
    tally: _Tally,
) -> Iterator[bytes]:
    """Yield interleaved FASTQ of the pairs with a barcode; a read's name is the barcode's line."""
    for lane, layout in zip(lanes, layouts, strict=True):
        for first, barcode, second in read_in_step(list(lane.files.values())):
            bases = layout.bases(barcode[1::4])
            lines = correct(bases, layout.qualities(barcode[3::4]), whitelist, counts)
            kept = lines >= 0
            tally.n_read += len(lines)
            tally.add("raw", lines[kept])
            yield _interleave(first, second, kept.tolist(), lines[kept].tolist())


def _interleave(
    first: list[bytes], second: list[bytes], kept: list[bool], lines: list[int]
) -> bytes:
    names = [b"@%d\n" % line for line in lines]
    text = [b"+\n"] * (8 * len(names))
    for offset, block in ((0, first), (4, second)):
        text[offset::8] = names
        text[offset + 1 :: 8] = compress(block[1::4], kept)
        text[offset + 3 :: 8] = compress(block[3::4], kept)
    return b"".join(text)


def _spill_fragments(
    sam: IO[bytes], folder: Path, tally: _Tally, min_mapping_quality: int, n_pairs: int
) -> list[str]:
    """Append the key of each usable pair to a file per contig; return the names of the contigs."""
    contigs, rest = _read_header(sam)
    contig_number = pl.Enum([*contigs, "*"])
    left_over = pl.DataFrame(
        schema={**{n: SAM_COLUMNS[n] for n in SAM_NEEDED}, "contig": contig_number}
    )
    start = reported = time.monotonic()
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


def _spill_pairs(rows: pl.DataFrame, folder: Path, tally: _Tally, min_mapping_quality: int) -> None:
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


def _write_fragments(
    spill: Path,
    contigs: list[str],
    gex: Whitelist,
    output: Path,
    *,
    sample: str,
    mitochondrial: str,
    threads: int,
) -> tuple[Counts, Counts, Counts]:
    """Write the fragment file and its index; return fragments, duplicates and mitochondrial pairs.

    Each is counted by barcode.
    """
    fragments, duplicates, mito = (np.zeros(len(gex), np.int64) for _ in range(3))
    names = pl.Series("barcode", np.char.add(gex.barcodes, b"-1").astype(str))
    header = [f"id={sample}", "pipeline_name=epifoundation", f"pipeline_version={__version__}"]
    header += [f"primary_contig={contig}" for contig in contigs]
    n_fragments = 0
    with write_through(BGZIP, ["-c", "-@", str(threads)], output) as handle:
        handle.write("".join(f"# {line}\n" for line in header).encode())
        for number, contig in enumerate(contigs):
            if not (spill / str(number)).exists():
                continue
            keys = np.fromfile(spill / str(number), np.uint64)
            keys, n_pairs = np.unique(keys, return_counts=True)
            line = (keys & np.uint64((1 << LINE_BITS) - 1)).astype(np.int64)
            fragments += np.bincount(line, minlength=len(gex))
            pairs = np.bincount(line, weights=n_pairs, minlength=len(gex)).astype(np.int64)
            duplicates += pairs - np.bincount(line, minlength=len(gex))
            if contig == mitochondrial:
                mito += pairs
            n_fragments += keys.size
            for begin in range(0, keys.size, LINES_PER_WRITE):
                part = slice(begin, begin + LINES_PER_WRITE)
                handle.write(_text(contig, keys[part], line[part], n_pairs[part], names))
    if n_fragments == 0:
        message = (
            f"{sample}: no ATAC read pair maps to the reference with the asked quality."
            " Check that reads and reference are of one species."
        )
        raise AlignError(message)
    run_program(TABIX, ["-p", "bed", output.name], folder=output.parent)
    logger.info("fragments: %s, duplicates: %s", f"{n_fragments:,}", f"{duplicates.sum():,}")
    return fragments, duplicates, mito


def _text(
    contig: str,
    keys: NDArray[np.uint64],
    line: NDArray[np.int64],
    n_pairs: NDArray[np.int64],
    names: pl.Series,
) -> bytes:
    start = (keys >> np.uint64(LENGTH_BITS + LINE_BITS)).astype(np.int64)
    extent = (keys >> np.uint64(LINE_BITS)) & np.uint64((1 << LENGTH_BITS) - 1)
    end = start + extent.astype(np.int64)
    frame = pl.DataFrame(
        {"start": start, "end": end, "barcode": names.gather(line), "count": n_pairs}
    )
    frame = frame.select(pl.lit(contig).alias("chrom"), pl.all())
    return frame.write_csv(separator="\t", include_header=False).encode()
