"""ATAC reads to fragments: barcodes corrected, reads aligned, duplicates collapsed.

Nothing but the fragments is kept: corrected reads are streamed into `bwa mem` and its SAM is
parsed as it comes (sam.py), without any BAM in between (docs/decisions/0003).
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from epifoundation import __version__
from epifoundation.align.barcodes import Layout, Whitelist, correct, count_exact, detect_layout
from epifoundation.align.fastq import Lane, read_in_step
from epifoundation.align.multiplets import ContigFragments, find_multiplets
from epifoundation.align.sam import LENGTH_BITS, LINE_BITS, Counts, Tally, spill_fragments
from epifoundation.align.tools import BGZIP, BWA, TABIX, filter_through, run_program, write_through
from epifoundation.errors import AlignError

logger = logging.getLogger(__name__)

BATCH_BASES = 20_000_000  # bwa -K: pairing statistics must not depend on the number of threads
LINES_PER_WRITE = 1_000_000
TSS_REACH_BP = 1000  # a fragment that comes as near to a TSS counts as one of it


@dataclass(frozen=True)
class AtacReads:
    """Numbers by barcode (line of the list): pairs as in sam.Tally, fragments and duplicates.

    `tss` counts fragments within 1 kb of a TSS; `excluded` is a reason of multiplets.py, or 0.
    """

    raw: Counts
    unmapped: Counts
    low_quality: Counts
    chimeric: Counts
    duplicates: Counts
    mitochondrial: Counts
    fragments: Counts
    tss: Counts
    excluded: NDArray[np.int8]
    n_read: int  # all pairs, with or without a barcode of the list


def make_fragments(
    lanes: Sequence[Lane],
    whitelists: tuple[Whitelist, Whitelist],
    index: Path,
    output: Path,
    *,
    sample: str,
    min_mapping_quality: int,
    bwa_options: Sequence[str],
    mitochondrial: str,
    tss: Mapping[str, Counts],
    threads: int,
    scratch: Path,
) -> AtacReads:
    """Write the fragments of a library to `output` (.tsv.gz, and .tbi) and return its read counts.

    `whitelists` are GEX and ATAC, paired by line; fragments carry the GEX barcode. `index` is the
    prefix of the bwa index, `tss` sorted 0-based positions by contig. All contigs are kept, in the
    order of the index, the mitochondrial one too: what to leave out is for the steps that read the
    file. Duplicates are pairs of one barcode with the same start and end; column 5 counts them.
    """
    gex, atac = whitelists
    layouts = [
        detect_layout(lane.files["R2"], atac, (lane.files["R1"], lane.files["R3"]))
        for lane in lanes
    ]
    counts, n_pairs = count_exact(lanes, layouts, atac)
    tally = Tally(len(atac))
    reads = corrected_pairs(lanes, layouts, atac, counts, tally)
    arguments: list[str | Path] = [
        "mem",
        "-p",
        "-t",
        str(threads),
        "-K",
        str(BATCH_BASES),
        *bwa_options,
        index,
        "-",
    ]
    spill = scratch / "fragments"
    spill.mkdir()
    with filter_through(BWA, arguments, reads) as sam:
        contigs = spill_fragments(sam, spill, tally, min_mapping_quality, n_pairs)
    logger.info(
        "barcodes: %s of %s pairs have one of the list after correction",
        f"{tally.raw.sum():,}",
        f"{tally.n_read:,}",
    )
    fragments, duplicates, mito = write_fragments(
        spill, contigs, gex, output, sample=sample, mitochondrial=mitochondrial, threads=threads
    )
    nuclear = [contig for contig in contigs if contig != mitochondrial]
    n_nuclear, n_tss = (np.zeros(len(gex), np.int64) for _ in range(2))
    for name, part in zip(nuclear, _read_contigs(spill, contigs, nuclear), strict=True):
        n_nuclear += np.bincount(part.line, minlength=len(gex))
        near = part.line[near_tss(part, tss.get(name, np.empty(0, np.int64)))]
        n_tss += np.bincount(near, minlength=len(gex))
    excluded = find_multiplets(_read_contigs(spill, contigs, nuclear), n_nuclear, atac.barcodes)
    return AtacReads(
        raw=tally.raw,
        unmapped=tally.unmapped,
        low_quality=tally.low_quality,
        chimeric=tally.chimeric,
        duplicates=duplicates,
        mitochondrial=mito,
        fragments=fragments,
        tss=n_tss,
        excluded=excluded,
        n_read=tally.n_read,
    )


def corrected_pairs(
    lanes: Sequence[Lane],
    layouts: Sequence[Layout],
    whitelist: Whitelist,
    counts: Counts,
    tally: Tally,
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


def write_fragments(
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

    Each is counted by barcode. The spilled keys become those of the fragments: sorted, each once.
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
            keys.tofile(spill / str(number))
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
    start, end = _interval(keys)
    frame = pl.DataFrame(
        {"start": start, "end": end, "barcode": names.gather(line), "count": n_pairs}
    )
    frame = frame.select(pl.lit(contig).alias("chrom"), pl.all())
    return frame.write_csv(separator="\t", include_header=False).encode()


def _interval(keys: NDArray[np.uint64]) -> tuple[Counts, Counts]:
    start = (keys >> np.uint64(LENGTH_BITS + LINE_BITS)).astype(np.int64)
    extent = (keys >> np.uint64(LINE_BITS)) & np.uint64((1 << LENGTH_BITS) - 1)
    return start, start + extent.astype(np.int64)


def _read_contigs(
    spill: Path, contigs: list[str], wanted: Sequence[str]
) -> Iterator[ContigFragments]:
    """Yield the fragments of each wanted contig, as `write_fragments` left them."""
    for contig in wanted:
        path = spill / str(contigs.index(contig))
        keys = np.fromfile(path, np.uint64) if path.exists() else np.empty(0, np.uint64)
        line = (keys & np.uint64((1 << LINE_BITS) - 1)).astype(np.int64)
        yield ContigFragments(*_interval(keys), line)


def near_tss(fragments: ContigFragments, tss: Counts) -> NDArray[np.bool_]:
    """Return which fragments come within 1 kb of one of the sorted positions."""
    first = np.searchsorted(tss, fragments.start - TSS_REACH_BP)
    beyond = np.searchsorted(tss, fragments.end - 1 + TSS_REACH_BP, side="right")
    return first < beyond
