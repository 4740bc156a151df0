"""Barcode metrics as Signac computes them, from fragments read once."""

import logging
from collections.abc import Mapping, Sequence
from typing import Literal

import anndata as ad
import numpy as np
import pandas as pd

from epifoundation.data.annotation import protein_coding
from epifoundation.data.fragment_reader import (
    FragmentChunk,
    Fragments,
    names_of,
    read_fragments,
)
from epifoundation.data.fragments import RegionCounter
from epifoundation.data.regions import Array, regions_as_var
from epifoundation.data.tss import TssCounter
from epifoundation.data.windows import WindowIndex
from epifoundation.multiome import counts_of

logger = logging.getLogger(__name__)

NUCLEOSOME_BP = 147  # DNA around one nucleosome (Signac NucleosomeSignal, groupCommand)
LINES_PER_BARCODE = 5_000  # Signac NucleosomeSignal: n = ncol(object) * 5e3
MITOCHONDRIAL = ("chrM", "MT", "M", "chrMT")  # as UCSC and Ensembl name it, and others
LENGTH_CLASSES = 3  # neither, nucleosome-free, mononucleosomal
# Which column holds the metric that a setting asks for.
NUCLEOSOME_COLUMNS = {"all": "nucleosome_signal", "signac": "nucleosome_signal_first_lines"}
TSS_COLUMNS = {"fast": "tss_enrichment", "slow": "tss_enrichment_slow"}


def count_and_measure(
    fragments: Fragments,
    peaks: pd.DataFrame,
    rna: ad.AnnData,
    genes: pd.DataFrame | None,
    blacklist: pd.DataFrame | None,
    *,
    mitochondrial: str,
    threads: int = 1,
    chromosome_sizes: Mapping[str, int] | None = None,
) -> tuple[ad.AnnData, pd.DataFrame]:
    """Return counts of the barcodes of `rna` × all peaks, and contracts.BARCODE_METRICS of them.

    The fragments are read once. `genes` is what `read_genes` returns; without it TSS enrichment is
    NaN, as frac_in_blacklist is without `blacklist`. `peaks` and `blacklist` have chrom, start, end
    (0-based, half-open). Rows follow `rna.obs_names`. frac_in_peaks is Signac's FRiP: the sum of
    the peak counts over the number of fragments; frac_in_blacklist is the share of fragments that
    touch a blacklisted region.
    """
    barcodes = rna.obs_names.tolist()
    in_peaks = RegionCounter(peaks, n_barcodes=len(barcodes))
    measured = FragmentMetrics(
        genes, n_barcodes=len(barcodes), blacklist=blacklist, mitochondrial=mitochondrial
    )
    chunks = read_fragments(fragments, barcodes, threads=threads, chromosome_sizes=chromosome_sizes)
    for chunk in chunks:
        in_peaks.add(chunk)
        measured.add(chunk)
    measured.check_chromosomes(names_of(fragments))
    counts = in_peaks.named(fragments, barcodes, regions_as_var(peaks), keep_absent=True)
    n_in_peaks = row_sums(counts)
    metrics = measured.table(barcodes).assign(
        **rna_metrics(rna, mitochondrial), n_atac_in_peaks=n_in_peaks
    )
    metrics["frac_in_peaks"] = ratio(n_in_peaks, metrics["n_fragments"].to_numpy())
    return counts, metrics


def measure_fragments(
    fragments: Fragments,
    genes: pd.DataFrame,
    barcodes: Sequence[str],
    *,
    peaks: pd.DataFrame | None = None,
    blacklist: pd.DataFrame | None = None,
    mitochondrial: str | None = None,
    nucleosome_lines: Literal["all", "signac"] = "all",
    tss: Literal["fast", "slow"] = "fast",
    threads: int = 1,
    chromosome_sizes: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Return barcode, n_fragments, nucleosome_signal, tss_enrichment, and the fractions asked for.

    For barcodes without RNA counts; rows follow `barcodes`; several files count as one.
    frac_in_peaks, frac_in_blacklist and frac_fragments_mitochondrial come with `peaks`, `blacklist`
    and `mitochondrial`.
    """
    measured = FragmentMetrics(
        genes, n_barcodes=len(barcodes), blacklist=blacklist, mitochondrial=mitochondrial
    )
    in_peaks = None if peaks is None else RegionCounter(peaks, n_barcodes=len(barcodes))
    chunks = read_fragments(fragments, barcodes, threads=threads, chromosome_sizes=chromosome_sizes)
    for chunk in chunks:
        measured.add(chunk)
        if in_peaks is not None:
            in_peaks.add(chunk)
    measured.check_chromosomes(names_of(fragments))
    table = measured.table(barcodes)
    chosen = table[["barcode", "n_fragments"]].assign(
        nucleosome_signal=table[NUCLEOSOME_COLUMNS[nucleosome_lines]],
        tss_enrichment=table[TSS_COLUMNS[tss]],
    )
    if in_peaks is not None and peaks is not None:
        counts = in_peaks.named(fragments, barcodes, regions_as_var(peaks), keep_absent=True)
        chosen["frac_in_peaks"] = ratio(row_sums(counts), table["n_fragments"].to_numpy())
    if blacklist is not None:
        chosen["frac_in_blacklist"] = table["frac_in_blacklist"]
    if mitochondrial is not None:
        chosen["frac_fragments_mitochondrial"] = table["frac_fragments_mitochondrial"]
    return chosen


class FragmentMetrics:
    """Counts fragments, their lengths, their cuts at TSSs and where they lie, chunk by chunk.

    Lengths are counted twice: over the whole file, and over its first 5,000 lines per barcode asked
    for, whoever's they are, as Signac does (`first_lines` sets another number).
    """

    def __init__(
        self,
        genes: pd.DataFrame | None,
        *,
        n_barcodes: int,
        blacklist: pd.DataFrame | None = None,
        mitochondrial: str | None = None,
        first_lines: int | None = None,
    ) -> None:
        self._n_barcodes = n_barcodes
        self._first_lines = LINES_PER_BARCODE * n_barcodes if first_lines is None else first_lines
        self._tss = None
        if genes is not None:
            self._tss = TssCounter(protein_coding(genes), n_barcodes=n_barcodes)
        self._blacklist = None if blacklist is None else WindowIndex(blacklist)
        self._blacklisted = set() if blacklist is None else set(blacklist["chrom"])
        self._mitochondrial = mitochondrial
        self._lengths = np.zeros(n_barcodes * LENGTH_CLASSES, dtype=np.int64)
        self._first_lengths = np.zeros_like(self._lengths)
        self._n_in_blacklist = np.zeros(n_barcodes, dtype=np.int64)
        self._n_mitochondrial = np.zeros(n_barcodes, dtype=np.int64)
        self._seen: set[str] = set()

    def add(self, chunk: FragmentChunk) -> None:
        """Count one chunk."""
        self._seen.update(chunk.chromosomes)
        known = chunk.of_known_barcodes()
        self._add_lengths(chunk, known)
        for chromosome, part in known.by_chromosome():
            if self._tss is not None:
                self._tss.add(chromosome, part)
            if self._blacklist is not None:
                fragment, _ = self._blacklist.touching(chromosome, part.start, part.end)
                # A fragment over two regions counts once.
                self._n_in_blacklist += self._per_barcode(part.barcode[np.unique(fragment)])
            if chromosome == self._mitochondrial:
                self._n_mitochondrial += self._per_barcode(part.barcode)

    def _add_lengths(self, chunk: FragmentChunk, known: FragmentChunk) -> None:
        length = known.end - known.start
        # Both limits are strict: 147 and 294 bp count in neither class.
        mono = (length > NUCLEOSOME_BP) & (length < 2 * NUCLEOSOME_BP)
        code = known.barcode.astype(np.int64) * LENGTH_CLASSES
        code += (length < NUCLEOSOME_BP) + 2 * mono.astype(np.int8)
        counts = np.bincount(code, minlength=len(self._lengths))
        self._lengths += counts
        n_left = max(self._first_lines - chunk.first_line, 0)
        if n_left < len(chunk):
            n_known = int(np.count_nonzero(chunk.barcode[:n_left] >= 0))
            counts = np.bincount(code[:n_known], minlength=len(self._lengths))
        self._first_lengths += counts

    def check_chromosomes(self, where: str) -> None:
        """Raise DataError if TSSs and fragments have no chromosome in common; warn if regions."""
        if self._tss is not None:
            self._tss.check_chromosomes(self._seen, where)
        if self._blacklisted and not self._blacklisted & self._seen:
            logger.warning(
                "%s: no blacklisted region is on a chromosome of the fragments (%s against %s):"
                " frac_in_blacklist is 0",
                *(where, min(self._blacklisted), min(self._seen)),
            )
        mitochondrial = self._mitochondrial
        others = [name for name in MITOCHONDRIAL if name in self._seen]
        # Cell Ranger leaves these fragments out, so that none under a usual name is no surprise.
        if mitochondrial not in {None, *self._seen} and (
            others or mitochondrial not in MITOCHONDRIAL
        ):
            logger.warning(
                "%s: no fragment is on %s, given as the mitochondrial chromosome (there are %s):"
                " frac_fragments_mitochondrial is 0",
                *(where, mitochondrial, ", ".join(others or sorted(self._seen)[:5])),
            )

    def table(self, barcodes: Sequence[str]) -> pd.DataFrame:
        """Return the metrics of contracts.BARCODE_METRICS that need neither RNA nor peaks.

        nucleosome_signal (Signac) is mononucleosomal over nucleosome-free fragments, infinite
        without the latter and NaN without both; nucleosome_signal_first_lines the same over the
        first lines. tss_enrichment is Signac's fast score, tss_enrichment_slow the other; NaN
        without genes. frac_fragments_mitochondrial is the share of fragments on chrM.
        """
        n_fragments = self._lengths.reshape(-1, LENGTH_CLASSES).sum(axis=1)
        unknown = np.full(self._n_barcodes, np.nan)
        fast, slow = (unknown, unknown) if self._tss is None else self._tss.enrichment()
        return pd.DataFrame(
            {
                "barcode": list(barcodes),
                "n_fragments": n_fragments,
                "nucleosome_signal": _nucleosome_signal(self._lengths),
                "nucleosome_signal_first_lines": _nucleosome_signal(self._first_lengths),
                "tss_enrichment": fast,
                "tss_enrichment_slow": slow,
                "frac_in_blacklist": unknown
                if self._blacklist is None
                else ratio(self._n_in_blacklist, n_fragments),
                "frac_fragments_mitochondrial": ratio(self._n_mitochondrial, n_fragments),
            }
        )

    def _per_barcode(self, barcode: Array) -> Array:
        return np.bincount(barcode, minlength=self._n_barcodes)


def _nucleosome_signal(lengths: Array) -> Array:
    by_class = lengths.reshape(-1, LENGTH_CLASSES)
    return ratio(by_class[:, 2], by_class[:, 1])


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
