"""TSS enrichment, Signac's fast score with its own offsets."""

import logging

import numpy as np
import pandas as pd

from epifoundation.data.fragments import FragmentChunk
from epifoundation.data.regions import Array, RegionIndex

logger = logging.getLogger(__name__)

MITOCHONDRIAL = ("chrM", "Mt", "MT")  # Signac GetTSSPositions drops these names
CENTRE_BP = 1_001  # t - 500 … t + 500, Signac TSSEnrichment
FLANKS_BP = 200  # t - 1000 … t - 901 and t + 901 … t + 1000


def tss_positions(genes: pd.DataFrame) -> pd.DataFrame:
    """Return chrom, position (1-based) and strand of the TSS of each gene, chrM left out."""
    nuclear = genes[~genes["chrom"].isin(MITOCHONDRIAL)]
    forward = nuclear["strand"] != "-"
    position = np.where(forward, nuclear["start"] + 1, nuclear["end"])
    return nuclear[["chrom", "strand"]].assign(position=position)


class TssCounter:
    """Counts, chunk by chunk, the cuts of each barcode around and beside TSSs.

    Replicates Signac 1.8.0, TSSEnrichment(fast = TRUE): cuts of a fragment count in a window only
    if the fragment overlaps the window, and lie two bases off a textbook position.
    """

    def __init__(self, genes: pd.DataFrame, *, n_barcodes: int) -> None:
        tss = tss_positions(genes)
        left, right = _windows(tss, -1000, -901), _windows(tss, 901, 1000)
        self._centre = _windows(tss, -500, 500)
        self._flanks = pd.concat([left, right], ignore_index=True)
        self._centre_index = RegionIndex(self._centre)
        self._flanks_index = RegionIndex(self._flanks)
        self._n_centre = np.zeros(n_barcodes, dtype=np.int64)
        self._n_flanks = np.zeros(n_barcodes, dtype=np.int64)

    def add(self, chunk: FragmentChunk) -> None:
        """Count one chunk."""
        for chromosome, part in chunk.of_known_barcodes().by_chromosome():
            self._n_centre += self._cuts(chromosome, part, self._centre, self._centre_index)
            self._n_flanks += self._cuts(chromosome, part, self._flanks, self._flanks_index)

    def enrichment(self) -> Array:
        """Return cuts per base around TSSs over cuts per base beside them.

        Barcodes without a cut beside a TSS take the mean over all barcodes instead; NaN for all if
        no barcode has one.
        """
        background = self._n_flanks / FLANKS_BP
        if not background.any():
            logger.warning("no fragment ends beside a TSS: tss_enrichment is unknown for all")
            return np.full(len(background), np.nan)
        background[background == 0] = background.mean()
        score: Array = self._n_centre / background / CENTRE_BP
        return score

    def _cuts(
        self, chromosome: str, part: FragmentChunk, windows: pd.DataFrame, index: RegionIndex
    ) -> Array:
        fragment, window = index.overlaps(chromosome, part.start, part.end)
        first = windows["start"].to_numpy()[window] + 1  # 1-based
        width = windows["end"].to_numpy()[window] - first + 1
        n_cuts = np.zeros(len(fragment), dtype=np.int64)
        for cut in (part.start, part.end):
            position = cut[fragment] - first - 1
            n_cuts += (position >= 1) & (position <= width)
        barcode = part.barcode[np.repeat(fragment, n_cuts)]
        return np.bincount(barcode, minlength=len(self._n_centre))


def _windows(tss: pd.DataFrame, first: int, last: int) -> pd.DataFrame:
    """Return the windows [t + first, t + last], 1-based and closed, as 0-based half-open regions.

    Signac adds half a base and IRanges truncates towards zero, which matters left of the
    chromosome's start only.
    """
    middle = tss["position"].to_numpy() + 0.5
    start = np.trunc(middle + first).astype(np.int64) - 1
    end = np.trunc(middle + last).astype(np.int64)
    return pd.DataFrame({"chrom": tss["chrom"].to_numpy(dtype=object), "start": start, "end": end})
