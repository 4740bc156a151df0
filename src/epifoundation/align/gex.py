"""GEX reads to UMI counts of genes, exons and introns alike, by STARsolo."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from epifoundation.align.barcodes import Whitelist, check_gex_barcodes
from epifoundation.align.fastq import Lane, check_lanes
from epifoundation.align.tools import STAR, run_program
from epifoundation.errors import AlignError

logger = logging.getLogger(__name__)

# Cell Ranger ARC counts reads within genes, introns included; of STARsolo's features this one
# prefers exons where genes overlap, as Cell Ranger does.
FEATURE = "GeneFull_Ex50pAS"
# The options STAR's manual gives to match Cell Ranger 4 and later; barcode 16 bases, UMI 12.
SOLO_OPTIONS = (
    "--soloType CB_UMI_Simple --soloCBstart 1 --soloCBlen 16 --soloUMIstart 17 --soloUMIlen 12"
    " --soloBarcodeReadLength 0 --soloCBmatchWLtype 1MM_multi_Nbase_pseudocounts"
    " --soloUMIfiltering MultiGeneUMI_CR --soloUMIdedup 1MM_CR --clipAdapterType CellRanger4"
    " --outFilterScoreMin 30 --soloStrand Forward --soloMultiMappers Unique"
    f" --soloFeatures {FEATURE} --soloCellFilter None --soloCellReadStats Standard"
    " --outSAMtype None"
).split()
REVERSE_STRAND = 2  # in transcriptInfo.tab; 0 is none given, 1 forward


@dataclass(frozen=True)
class GeneCounts:
    """UMI counts of a library.

    `matrix` is CSR int32, barcodes (lines of the GEX list) × genes; `genes` has gene_id, gene_name
    and interval (chrom:start-end, 0-based half-open, as in 10x's files), in the order of the
    columns; `reads` is STARsolo's table of read numbers by barcode (index: line of the list).
    """

    matrix: sparse.csr_matrix
    genes: pd.DataFrame
    reads: pd.DataFrame
    n_read: int


def count_genes(
    lanes: Sequence[Lane], whitelist: Whitelist, index: Path, *, threads: int, scratch: Path
) -> GeneCounts:
    """Return the UMI counts of the reads in `lanes`; `index` is the STAR genome folder."""
    for lane in lanes:
        check_gex_barcodes(lane.files["R1"], whitelist, (lane.files["R2"],))
    n_reads = check_lanes(lanes, threads)
    folder = scratch / "star"
    folder.mkdir()
    allowed = folder / "whitelist.txt"
    allowed.write_bytes(b"\n".join(whitelist.barcodes.tolist()) + b"\n")
    arguments: list[str | Path] = ["--runThreadN", str(threads), "--genomeDir", index.resolve()]
    arguments += ["--readFilesIn", *(_joined(lanes, read) for read in ("R2", "R1"))]
    arguments += ["--readFilesCommand", "gzip", "-cd", "--soloCBwhitelist", allowed.name]
    run_program(STAR, [*arguments, *SOLO_OPTIONS], folder=folder)
    solo = folder / "Solo.out" / FEATURE
    genes = _read_genes(solo / "raw" / "features.tsv", index)
    lines = pd.Series(np.arange(len(whitelist)), index=whitelist.barcodes.astype(str))
    matrix = _read_matrix(solo / "raw", lines, len(genes))
    if matrix.nnz == 0:
        message = (
            f"{lanes[0].files['R2']}: of {n_reads:,} GEX reads none was counted in a gene."
            " Check that reads and reference are of one species and R1 and R2 not exchanged."
        )
        raise AlignError(message)
    reads = _read_cell_stats(solo / "CellReads.stats", lines)
    logger.info("gex: %s UMIs of %s reads", f"{int(matrix.sum()):,}", f"{n_reads:,}")
    return GeneCounts(matrix, genes, reads, n_reads)


def _joined(lanes: Sequence[Lane], read: str) -> str:
    return ",".join(str(lane.files[read].resolve()) for lane in lanes)


def _read_matrix(folder: Path, lines: pd.Series, n_genes: int) -> sparse.csr_matrix:
    """Return barcodes × genes from STAR's genes × barcodes, which it sorts by barcode."""
    path = folder / "matrix.mtx"
    with path.open() as handle:
        n_head = 1
        while handle.readline().startswith("%"):
            n_head += 1
    names = ["gene", "barcode", "count"]
    triples = pl.read_csv(
        path,
        separator=" ",
        has_header=False,
        skip_lines=n_head,
        schema=dict.fromkeys(names, pl.Int32),
        raise_if_empty=False,
    )
    gene, barcode, count = (triples[name].to_numpy() for name in names)
    line = lines[(folder / "barcodes.tsv").read_text().split()].to_numpy()[barcode - 1]
    shape = (len(lines), n_genes)
    return sparse.csr_matrix((count, (line, gene - 1)), shape=shape, dtype=np.int32)


def _read_genes(path: Path, index: Path) -> pd.DataFrame:
    """Return genes in STAR's order, with the interval their transcripts in the index span."""
    genes = pd.read_csv(
        path, sep="\t", header=None, usecols=[0, 1], names=["gene_id", "gene_name"], dtype=str
    )
    transcripts = _read_transcripts(index)
    spans = transcripts.groupby("gene").agg({"start": "min", "end": "max"})
    spans = spans.reindex(range(len(genes)))
    names, begins = _read_contigs(index)
    chromosome = np.searchsorted(begins, spans["start"].to_numpy(), side="right") - 1
    start = spans["start"].to_numpy() - begins[chromosome]
    end = spans["end"].to_numpy() - begins[chromosome] + 1
    intervals = [
        f"{names[c]}:{s:.0f}-{e:.0f}" for c, s, e in zip(chromosome, start, end, strict=True)
    ]
    return genes.assign(interval=intervals)


def read_tss(index: Path) -> dict[str, NDArray[np.int64]]:
    """Return sorted 0-based transcription start sites by contig, from STAR's genome folder."""
    transcripts = _read_transcripts(index)
    reverse = (transcripts["strand"] == REVERSE_STRAND).to_numpy()
    place = np.where(reverse, transcripts["end"], transcripts["start"]).astype(np.int64)
    names, begins = _read_contigs(index)
    contig = np.searchsorted(begins, place, side="right") - 1
    return {
        name: np.unique(place[contig == number] - begins[number])
        for number, name in enumerate(names)
    }


def _read_transcripts(index: Path) -> pd.DataFrame:
    """Return start, end (first and last base, 0-based, in STAR's joined genome), strand, gene."""
    transcripts = pd.read_csv(
        index / "transcriptInfo.tab", sep="\t", skiprows=1, header=None, usecols=[1, 2, 4, 7]
    )
    return transcripts.set_axis(["start", "end", "strand", "gene"], axis=1)


def _read_contigs(index: Path) -> tuple[list[str], NDArray[np.int64]]:
    """Return the contigs and where each begins in STAR's joined genome."""
    begins = np.loadtxt(index / "chrStart.txt", dtype=np.int64, ndmin=1)
    return (index / "chrName.txt").read_text().split(), begins


def _read_cell_stats(path: Path, lines: pd.Series) -> pd.DataFrame:
    """Return STAR's read numbers by line of the list, without the row of unmatched reads."""
    stats = pd.read_csv(path, sep="\t").iloc[1:]
    stats.index = pd.Index(lines[stats["CB"]].to_numpy())
    return stats.drop(columns="CB").astype(np.int64)
