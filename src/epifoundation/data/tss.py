"""TSS enrichment: both of Signac's scores, with its own offsets."""

import logging
from collections.abc import Collection

import numpy as np
import pandas as pd

from epifoundation.data.fragment_checks import naming_hint
from epifoundation.data.fragment_reader import FragmentChunk
from epifoundation.data.regions import Array
from epifoundation.data.windows import WindowIndex
from epifoundation.errors import DataError

logger = logging.getLogger(__name__)

MITOCHONDRIAL = ("chrM", "Mt", "MT")  # Signac GetTSSPositions drops these names
# Windows around a TSS t, first and last base (Signac TSSEnrichment), and where the scores count.
FULL, CENTRE, LEFT, RIGHT = (-1000, 1000), (-500, 500), (-1000, -901), (901, 1000)
FULL_BP, CENTRE_BP, FLANKS_BP = 2_001, 1_001, 200
FLANK_COLUMNS = 100  # at each end of the full window, and columns 500 to 1500 are its centre
FAST_CENTRE, FAST_FLANKS, SLOW_CENTRE, SLOW_FLANKS = 1, 2, 4, 8  # what a cut counts for, as bits
NEAR_START = 1_000  # windows of TSSs from here on lie inside the chromosome


def tss_positions(genes: pd.DataFrame) -> pd.DataFrame:
    """Return chrom, position (1-based) and strand of the TSS of each gene, chrM left out."""
    nuclear = genes[~genes["chrom"].isin(MITOCHONDRIAL)]
    forward = nuclear["strand"] != "-"
    position = np.where(forward, nuclear["start"] + 1, nuclear["end"])
    return nuclear[["chrom", "strand"]].assign(position=position)


class TssCounter:
    """Counts, chunk by chunk, the cuts of each barcode around and beside TSSs.

    Replicates both scores of Signac 1.8.0's TSSEnrichment: cuts lie two bases off a textbook
    position; with `fast = TRUE` those of a fragment count in the centre or a flank only if the
    fragment overlaps that window itself, and strands do not matter.
    """

    def __init__(self, genes: pd.DataFrame, *, n_barcodes: int) -> None:
        self._tss = tss_positions(genes)
        first, last = _window(self._tss["position"].to_numpy(), FULL)
        windows = pd.DataFrame(
            {"chrom": self._tss["chrom"].to_numpy(dtype=object), "start": first - 1, "end": last}
        )
        self._index = WindowIndex(windows)
        self._first = first
        self._kind, uses = _uses(self._tss)
        # Few of the sixteen sets of uses occur: cuts are counted by set.
        self._sets, codes = np.unique(uses, return_inverse=True)
        self._codes, self._shape = codes.astype(np.int32).ravel(), uses.shape
        self._counts = np.zeros((n_barcodes, len(self._sets)), dtype=np.int64)

    def add(self, chromosome: str, part: FragmentChunk) -> None:
        """Count fragments of one chromosome, all of known barcodes."""
        fragment, window = self._index.touching(chromosome, part.start, part.end)
        start, end = part.start[fragment], part.end[fragment]
        row = part.barcode[fragment].astype(np.int64) * len(self._sets)
        first, kind = self._first[window], self._kind[window]
        _, n_kinds, n_columns = self._shape
        for cut in (start, end):
            # Outside the window, left of it included, is the last column, which counts for nothing.
            column = np.minimum((cut - first - 1).astype(np.uint64), n_columns - 1).astype(np.int64)
            slack = np.minimum(cut - start, 3)
            code = self._codes[(slack * n_kinds + kind) * n_columns + column]
            counts = np.bincount(row + code, minlength=self._counts.size)
            self._counts += counts.reshape(self._counts.shape)

    def check_chromosomes(self, seen: Collection[str], where: str) -> None:
        """Raise DataError if no TSS is on a chromosome of the fragments; warn if some are not."""
        present = self._tss["chrom"].isin(list(seen))
        absent = self._tss["chrom"][~present]
        hint = next((hint for hint in (naming_hint(n, seen) for n in absent.unique()) if hint), "")
        if not present.any():
            example = absent.iloc[0] if len(absent) else "none"
            message = (
                f"{where}: none of the {len(present):,} TSSs of the annotation is on a chromosome"
                f" of the fragments (TSSs on {example}, fragments on {min(seen, default='none')})"
                f"{hint}. Are both of the same genome, named alike?"
            )
            raise DataError(message)
        if len(absent):
            logger.warning(
                "%s: %s of %s TSSs are on chromosomes without fragments (first: %s)%s",
                *(where, f"{len(absent):,}", f"{len(present):,}", absent.iloc[0], hint),
            )

    def enrichment(self) -> tuple[Array, Array]:
        """Return the fast and the slow score: cuts per base around TSSs over those beside them.

        Barcodes without a cut beside a TSS take the mean over all barcodes instead; NaN for all if
        no barcode has one.
        """
        total = {
            bit: self._counts[:, (self._sets & bit) > 0].sum(axis=1)
            for bit in (FAST_CENTRE, FAST_FLANKS, SLOW_CENTRE, SLOW_FLANKS)
        }
        if not total[FAST_FLANKS].any():
            logger.warning("no fragment ends beside a TSS: tss_enrichment is unknown for all")
        return (
            _score(total[FAST_CENTRE], total[FAST_FLANKS]),
            _score(total[SLOW_CENTRE], total[SLOW_FLANKS]),
        )


def _score(n_centre: Array, n_flanks: Array) -> Array:
    background = n_flanks / FLANKS_BP
    if not background.any():
        return np.full(len(background), np.nan)
    background[background == 0] = background.mean()
    score: Array = n_centre / background / CENTRE_BP
    return score


def _window(position: Array, offsets: tuple[int, int]) -> tuple[Array, Array]:
    """Return the first and last base (1-based, closed) of windows around TSSs.

    Signac adds half a base and IRanges truncates towards zero, which matters left of the
    chromosome's start only.
    """
    first, last = (np.trunc(position + 0.5 + offset).astype(np.int64) for offset in offsets)
    return first, last


def _uses(tss: pd.DataFrame) -> tuple[Array, Array]:
    """Return each TSS's kind, and what cuts count for: bits by (slack, kind, column).

    `column` is Signac's position in the full window, 1 to 2001; `slack` the distance of a cut from
    its fragment's start, at most 3: as cuts are two bases off, a cut in the last columns belongs to
    a fragment that does not reach back into the window unless slack is large enough. All TSSs of a
    strand have the same windows, thus are of one kind, but for those near the chromosome's start.
    """
    near = np.minimum(tss["position"].to_numpy(dtype=np.int64), NEAR_START)
    reverse = (tss["strand"] == "-").to_numpy()
    keys, kind = np.unique(near * 2 + reverse, return_inverse=True)
    column = np.arange(FULL_BP + 2)
    slack = np.arange(4)[:, None, None]
    near, reverse = (keys // 2)[:, None], (keys % 2 == 1)[:, None]
    full_first, _ = _window(near, FULL)

    def inside(offsets: tuple[int, int]) -> Array:
        first, last = _window(near, offsets)
        position = column - (first - full_first)
        within: Array = (position >= 1) & (position <= last - first + 1 - 3 + slack)
        return within

    slow = np.where(reverse, FULL_BP + 1 - column, column)
    in_full = inside(FULL)
    slow_flanks = (slow <= FLANK_COLUMNS) | (slow > FULL_BP - FLANK_COLUMNS)
    uses = (
        FAST_CENTRE * inside(CENTRE)
        + FAST_FLANKS * (inside(LEFT) | inside(RIGHT))
        + SLOW_CENTRE * (in_full & (slow >= 500) & (slow <= 1500))
        + SLOW_FLANKS * (in_full & slow_flanks)
    )
    uses[:, :, [0, -1]] = 0
    return kind.ravel(), uses
