"""Barcode metrics as Signac computes them, and which barcodes are cells."""

import logging
import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import anndata as ad
import numpy as np
import pandas as pd

from epifoundation.config import QcConfig
from epifoundation.data.annotation import protein_coding
from epifoundation.data.fragments import FragmentChunk, RegionCounter, read_fragments
from epifoundation.data.regions import Array, RegionIndex, regions_as_var
from epifoundation.data.tss import TssCounter
from epifoundation.errors import DataError
from epifoundation.multiome import counts_of

logger = logging.getLogger(__name__)

NUCLEOSOME_BP = 147  # DNA around one nucleosome (Signac NucleosomeSignal, groupCommand)
LINES_PER_BARCODE = 5_000  # Signac NucleosomeSignal: n = ncol(object) * 5e3


def count_and_measure(
    fragments: Path | str,
    peaks: pd.DataFrame,
    rna: ad.AnnData,
    genes: pd.DataFrame | None,
    blacklist: pd.DataFrame,
    *,
    mitochondrial: str,
    nucleosome_lines: Literal["all", "signac"],
) -> tuple[ad.AnnData, pd.DataFrame]:
    """Return counts of the barcodes of `rna` × all peaks, and contracts.BARCODE_METRICS of them.

    The fragments are read once. `genes` is what `read_genes` returns; without it tss_enrichment is
    NaN. `peaks` and `blacklist` have chrom, start, end (0-based, half-open). Rows follow
    `rna.obs_names`. frac_in_peaks is Signac's FRiP: the sum of the peak counts over the number of
    fragments; frac_in_blacklist is the share of fragments that touch a blacklisted region.
    """
    barcodes = rna.obs_names.tolist()
    in_peaks = RegionCounter(peaks, n_barcodes=len(barcodes))
    in_blacklist = TouchCounter(blacklist, n_barcodes=len(barcodes))
    n_lines = nucleosome_line_limit(nucleosome_lines, n_barcodes=len(barcodes))
    fragment_metrics = FragmentMetrics(genes, n_barcodes=len(barcodes), n_lines=n_lines)
    for chunk in read_fragments(fragments, barcodes):
        for counter in (in_peaks, in_blacklist, fragment_metrics):
            counter.add(chunk)
    counts = in_peaks.named(fragments, barcodes, regions_as_var(peaks), keep_absent=True)
    table = fragment_metrics.table(barcodes)
    n_fragments = table["n_fragments"].to_numpy()
    n_in_peaks = row_sums(counts)
    metrics = pd.DataFrame(
        {
            "barcode": barcodes,
            **rna_metrics(rna, mitochondrial),
            "n_fragments": n_fragments,
            "n_atac_in_peaks": n_in_peaks,
            "nucleosome_signal": table["nucleosome_signal"],
            "tss_enrichment": table["tss_enrichment"],
            "frac_in_peaks": ratio(n_in_peaks, n_fragments),
            "frac_in_blacklist": ratio(in_blacklist.n_touching, n_fragments),
        }
    )
    return counts, metrics


def measure_fragments(
    fragments: Path | str,
    genes: pd.DataFrame,
    barcodes: Sequence[str],
    *,
    peaks: pd.DataFrame | None = None,
    nucleosome_lines: Literal["all", "signac"] = "all",
) -> pd.DataFrame:
    """Return barcode, n_fragments, nucleosome_signal, tss_enrichment (and frac_in_peaks).

    For barcodes without RNA counts; rows follow `barcodes`.
    """
    n_lines = nucleosome_line_limit(nucleosome_lines, n_barcodes=len(barcodes))
    fragment_metrics = FragmentMetrics(genes, n_barcodes=len(barcodes), n_lines=n_lines)
    in_peaks = None if peaks is None else RegionCounter(peaks, n_barcodes=len(barcodes))
    for chunk in read_fragments(fragments, barcodes):
        fragment_metrics.add(chunk)
        if in_peaks is not None:
            in_peaks.add(chunk)
    table = fragment_metrics.table(barcodes)
    if in_peaks is not None and peaks is not None:
        counts = in_peaks.named(fragments, barcodes, regions_as_var(peaks), keep_absent=True)
        table["frac_in_peaks"] = ratio(row_sums(counts), table["n_fragments"].to_numpy())
    return table


def nucleosome_line_limit(lines: Literal["all", "signac"], *, n_barcodes: int) -> int | None:
    """Return how many fragments of a file the nucleosome signal reads; None: all."""
    return LINES_PER_BARCODE * n_barcodes if lines == "signac" else None


class FragmentMetrics:
    """Counts fragments, their lengths and their cuts at TSSs, chunk by chunk.

    Lengths are counted over the first `n_lines` fragments of the file, whoever's they are; over all
    if None.
    """

    def __init__(
        self, genes: pd.DataFrame | None, *, n_barcodes: int, n_lines: int | None = None
    ) -> None:
        self._n_barcodes = n_barcodes
        self._n_lines = n_lines
        self._tss = None
        if genes is not None:
            self._tss = TssCounter(protein_coding(genes), n_barcodes=n_barcodes)
        self._n_fragments = np.zeros(n_barcodes, dtype=np.int64)
        self._n_free = np.zeros(n_barcodes, dtype=np.int64)
        self._n_mono = np.zeros(n_barcodes, dtype=np.int64)

    def add(self, chunk: FragmentChunk) -> None:
        """Count one chunk."""
        known = chunk.of_known_barcodes()
        self._n_fragments += self._per_barcode(known.barcode)
        if self._tss is not None:
            self._tss.add(known)
        if self._n_lines is not None:
            n_left = max(self._n_lines - chunk.first_line, 0)
            known = chunk.select(np.arange(len(chunk)) < n_left).of_known_barcodes()
        length = known.end - known.start
        # Both limits are strict: 147 and 294 bp count in neither class.
        mono = (length > NUCLEOSOME_BP) & (length < 2 * NUCLEOSOME_BP)
        self._n_free += self._per_barcode(known.barcode[length < NUCLEOSOME_BP])
        self._n_mono += self._per_barcode(known.barcode[mono])

    def table(self, barcodes: Sequence[str]) -> pd.DataFrame:
        """Return barcode, n_fragments, nucleosome_signal, tss_enrichment.

        nucleosome_signal (Signac) is mononucleosomal over nucleosome-free fragments, infinite
        without the latter and NaN without both.
        """
        unknown = np.full(self._n_barcodes, np.nan)
        return pd.DataFrame(
            {
                "barcode": list(barcodes),
                "n_fragments": self._n_fragments,
                "nucleosome_signal": ratio(self._n_mono, self._n_free),
                "tss_enrichment": unknown if self._tss is None else self._tss.enrichment(),
            }
        )

    def _per_barcode(self, barcode: Array) -> Array:
        return np.bincount(barcode, minlength=self._n_barcodes)


class TouchCounter:
    """Counts, chunk by chunk, the fragments of each barcode that touch any of the regions."""

    def __init__(self, regions: pd.DataFrame, *, n_barcodes: int) -> None:
        self._index = RegionIndex(regions)
        self.n_touching = np.zeros(n_barcodes, dtype=np.int64)

    def add(self, chunk: FragmentChunk) -> None:
        """Count one chunk; a fragment over two regions counts once."""
        for chromosome, part in chunk.of_known_barcodes().by_chromosome():
            fragment, _ = self._index.overlaps(chromosome, part.start, part.end)
            touching = part.barcode[np.unique(fragment)]
            self.n_touching += np.bincount(touching, minlength=len(self.n_touching))


def rna_metrics(rna: ad.AnnData, mitochondrial: str) -> dict[str, Array]:
    """Return n_rna_umis, n_genes and frac_mitochondrial, one value a barcode.

    frac_mitochondrial is the share of UMIs from genes whose `var["chrom"]` is `mitochondrial`; NaN
    where there is no UMI, and for all barcodes where no gene is known to lie there.
    """
    counts = counts_of(rna)
    n_umis = row_sums(rna)
    on_mitochondrion = (rna.var["chrom"] == mitochondrial).to_numpy()
    n_mitochondrial = np.asarray(counts[:, on_mitochondrion].sum(axis=1, dtype=float)).ravel()
    if not on_mitochondrion.any():
        n_mitochondrial = np.full(rna.n_obs, np.nan)
    return {
        "n_rna_umis": n_umis,
        "n_genes": np.asarray((counts > 0).sum(axis=1)).ravel().astype(np.int64),
        "frac_mitochondrial": ratio(n_mitochondrial, n_umis),
    }


def row_sums(part: ad.AnnData) -> Array:
    """Return the sum of each cell's counts, int64."""
    return np.asarray(counts_of(part).sum(axis=1, dtype=np.int64)).ravel()


def ratio(numerator: Array, denominator: Array) -> Array:
    """Return the quotient as R gives it: x/0 is infinite, 0/0 is NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: Array = np.asarray(numerator, dtype=float) / denominator
    return quotient


def filter_cells(
    metrics: pd.DataFrame, qc: QcConfig | None, *, sample: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of `metrics` that pass every criterion, and contracts.QC_FUNNEL.

    Limits themselves fail, as does NaN. A criterion without a limit, or whose metric `metrics`
    lacks (entry `matrices`), does not apply; without n_fragments ATAC reads are those in peaks.
    `n_removed` of a criterion counts the barcodes it fails by itself; `qc` None keeps all.
    """
    passed = pd.Series(data=True, index=metrics.index)
    funnel = [("start", len(metrics), 0)]
    for name, column, keeps, limit in _criteria(metrics, qc):
        passing = keeps(metrics[column], limit)
        passed &= passing
        n_passing = int(passing.sum())
        funnel.append((name, n_passing, len(metrics) - n_passing))
        logger.info("%s: %s keeps %d of %d barcodes", sample, name, n_passing, len(metrics))
    n_kept = int(passed.sum())
    if n_kept == 0:
        raise DataError(_no_cell_left(metrics, qc, funnel, sample))
    funnel.append(("kept", n_kept, len(metrics) - n_kept))
    logger.info("%s: kept %d of %d barcodes (%s)", sample, n_kept, len(metrics), qc)
    table = pd.DataFrame(funnel, columns=["criterion", "n_barcodes", "n_removed"])
    return metrics[passed].reset_index(drop=True), table


Comparison = Callable[[pd.Series, float], pd.Series]
Criterion = tuple[str, str, Comparison, float]


def _criteria(metrics: pd.DataFrame, qc: QcConfig | None) -> list[Criterion]:
    if qc is None:
        return []
    counts_fragments = qc.atac_reads == "fragments" and "n_fragments" in metrics
    atac = "n_fragments" if counts_fragments else "n_atac_in_peaks"
    criteria: list[tuple[str, str, Comparison, float | None]] = [
        ("min_rna_umis", "n_rna_umis", operator.gt, qc.min_rna_umis),
        ("max_rna_umis", "n_rna_umis", operator.lt, qc.max_rna_umis),
        ("min_atac_reads", atac, operator.gt, qc.min_atac_reads),
        ("max_atac_reads", atac, operator.lt, qc.max_atac_reads),
        ("max_nucleosome_signal", "nucleosome_signal", operator.lt, qc.max_nucleosome_signal),
        ("min_tss_enrichment", "tss_enrichment", operator.gt, qc.min_tss_enrichment),
    ]
    return [
        (name, column, keeps, limit)
        for name, column, keeps, limit in criteria
        if column in metrics and limit is not None
    ]


def _no_cell_left(
    metrics: pd.DataFrame, qc: QcConfig | None, funnel: list[tuple[str, int, int]], sample: str
) -> str:
    criteria = _criteria(metrics, qc)
    if not len(metrics) or not criteria:
        return f"sample {sample}: there is no barcode to begin with. Check its RNA counts."
    worst, _, n_removed = max(funnel[1:], key=lambda row: row[2])
    limits = {name: (column, limit) for name, column, _, limit in criteria}
    column, limit = limits[worst]
    medians = ", ".join(
        f"{name} {metrics[name].median():.4g}" for name in dict.fromkeys(c[1] for c in criteria)
    )
    return (
        f"sample {sample}: no cell is left of {len(metrics):,} barcodes. {worst} removes most"
        f" ({n_removed:,}; limit {limit:g}, median {column}"
        f" {metrics[column].median():.4g}). Medians: {medians}. Check the sample, or relax qc."
    )
