"""Fragments counted in regions as Signac's FeatureMatrix does."""

import logging
from collections.abc import Mapping, Sequence

import anndata as ad
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from epifoundation.data.fragment_checks import naming_hint
from epifoundation.data.fragment_reader import FragmentChunk, Fragments, names_of, read_fragments
from epifoundation.data.regions import PairCounts, RegionIndex, region_names, regions_as_var
from epifoundation.errors import DataError

logger = logging.getLogger(__name__)


def count_fragments_in_peaks(
    fragments: Fragments,
    peaks: pd.DataFrame,
    barcodes: Sequence[str],
    *,
    keep_absent: bool,
    threads: int = 1,
    chromosome_sizes: Mapping[str, int] | None = None,
) -> ad.AnnData:
    """Return integer counts of barcodes × peaks (Signac's FeatureMatrix), both in the given order.

    An entry counts the lines of the barcode that share at least one base with the peak; a fragment
    over two peaks counts in each; the duplicate count in column five is not used. `peaks` has
    `chrom`, `start`, `end`, 0-based, half-open, and may overlap. Peaks on chromosomes without
    fragments in any of the files are dropped, as FeatureMatrix does, unless `keep_absent`. Counts
    that are all zero are a DataError.
    """
    counter = RegionCounter(peaks, n_barcodes=len(barcodes))
    chunks = read_fragments(fragments, barcodes, threads=threads, chromosome_sizes=chromosome_sizes)
    for chunk in chunks:
        counter.add(chunk)
    var = regions_as_var(peaks)
    return counter.named(fragments, barcodes, var, keep_absent=keep_absent, may_be_empty=False)


class RegionCounter:
    """Counts, chunk by chunk, the fragments of each barcode that overlap each region."""

    def __init__(self, regions: pd.DataFrame, *, n_barcodes: int) -> None:
        self.regions = regions
        self._index = RegionIndex(regions)
        self._pairs = PairCounts(n_barcodes, len(regions))
        self._seen: set[str] = set()
        self._example = ""

    def add(self, chunk: FragmentChunk) -> None:
        """Count one chunk."""
        self._seen.update(chunk.chromosomes)
        for chromosome, part in chunk.of_known_barcodes().by_chromosome():
            self._example = self._example or f"{chromosome}:{part.start[0]}-{part.end[0]}"
            fragment, region = self._index.overlaps(chromosome, part.start, part.end)
            self._pairs.add(part.barcode[fragment], region)

    def matrix(self) -> sparse.csr_matrix:
        """Return the counts so far, barcodes × regions, int32."""
        return self._pairs.matrix()

    def named(
        self,
        where: Fragments,
        barcodes: Sequence[str],
        var: pd.DataFrame,
        *,
        keep_absent: bool,
        may_be_empty: bool = True,
    ) -> ad.AnnData:
        """Return the counts under the names of `barcodes` and of `var`, one row a region.

        Regions on chromosomes never seen in the files `where` go unless `keep_absent`. DataError if
        that is all of them, or if there is no count and `may_be_empty` is false.
        """
        files = names_of(where)
        present = self._present(files, keep_absent=keep_absent)
        matrix = self.matrix()
        if not matrix.nnz:
            message = self._why_empty(files, len(barcodes))
            if not may_be_empty:
                raise DataError(message)
            logger.warning(message)
        kept = np.ones_like(present) if keep_absent else present
        n_empty = int((np.diff(matrix.indptr) == 0).sum())
        logger.info(
            "%s: %d barcodes × %d regions, %d counts, %d barcodes without any",
            *(files, len(barcodes), kept.sum(), matrix.sum(), n_empty),
        )
        obs = pd.DataFrame(index=pd.Index(list(barcodes), dtype=object))
        return ad.AnnData(X=matrix if kept.all() else matrix[:, kept], obs=obs, var=var[kept])

    def _why_empty(self, files: str, n_barcodes: int) -> str:
        """Return what is said of counts that are all zero."""
        region = region_names(self.regions[:1])[0]
        return (
            f"{files}: the matrix is empty: no fragment of the {n_barcodes:,} barcodes overlaps any"
            f" of the {len(self.regions):,} regions (the first fragment is {self._example}, the"
            f" first region {region}). Are both of the same genome assembly and the same cells?"
        )

    def _present(self, files: str, *, keep_absent: bool) -> npt.NDArray[np.bool_]:
        """Return which regions are on chromosomes seen, saying how many are not."""
        present = self.regions["chrom"].isin(self._seen).to_numpy()
        names = self.regions["chrom"][~present].unique()
        hint = next((hint for hint in (naming_hint(n, self._seen) for n in names) if hint), "")
        if not present.any():
            message = (
                f"{files}: none of the {len(present):,} regions is on a chromosome of the fragments"
                f" (regions on {names[0] if len(names) else 'none'}, fragments on"
                f" {min(self._seen)}){hint}. Are both of the same genome, named alike?"
            )
            raise DataError(message)
        if len(names):
            # Kept ones are as the caller wants them, unless the names are the reason.
            logger.log(
                logging.INFO if keep_absent and not hint else logging.WARNING,
                "%s: %s of %s regions are on %d chromosomes without fragments (first: %s), %s%s",
                *(files, f"{(~present).sum():,}", f"{len(present):,}", len(names), names[0]),
                "kept as zeros" if keep_absent else "dropped",
                hint,
            )
        return present
