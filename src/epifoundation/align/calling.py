"""Which barcodes are cells: both modalities together, as 10x describes it for Cell Ranger ARC."""

import logging

import numpy as np
from numpy.typing import NDArray

from epifoundation.errors import AlignError

logger = logging.getLogger(__name__)

TOP_QUANTILE = 0.99  # of the expected cells: a barcode with a typically high count ...
MAGNITUDE = 10.0  # ... and what lies within an order of magnitude of it
MIN_OVERLAP = 0.05  # of the barcodes with many counts in the one modality, also so in the other
MIN_COUNT = 2  # in each modality: a barcode with less is no cell and no point
MAX_ITERATIONS = 200


def call_cells(
    n_atac: NDArray[np.int64],
    n_umis: NDArray[np.int64],
    excluded: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Return which barcodes are cells.

    Barcodes with both counts above one, less the excluded, are points on log scales; points that
    coincide count once, so that the mass of almost empty barcodes does not outweigh the cells. A
    threshold an order of magnitude below the top in each dimension gives two first groups, and
    K-means with two centres settles them. Cell Ranger ARC's ATAC count is of cut sites in the
    sample's own peaks; here it is of all fragments, since no peaks are called per sample.
    """
    _check_same_nuclei(n_atac, n_umis)
    enough = (n_atac >= MIN_COUNT) & (n_umis >= MIN_COUNT)
    both = np.flatnonzero(enough if excluded is None else enough & ~excluded)
    if both.size == 0:
        message = (
            "no barcode has two ATAC fragments and two RNA UMIs. The two libraries are of different"
            " samples, or the two whitelists do not pair line by line."
        )
        raise AlignError(message)
    counts = np.column_stack([n_atac[both], n_umis[both]])
    unique = np.unique(counts, axis=0)
    thresholds = [order_of_magnitude(unique[:, axis]) for axis in (0, 1)]
    points = np.log10(unique)
    centres = _two_means(points, np.all(unique >= thresholds, axis=1))
    distances = _distances(np.log10(counts), centres)
    cells = np.zeros(n_atac.size, np.bool_)
    cells[both] = distances[:, 1] < distances[:, 0]
    logger.info(
        "cells: %s of %s barcodes (centres, fragments and UMIs: cells %.0f and %.0f,"
        " others %.0f and %.0f)",
        f"{cells.sum():,}",
        f"{both.size:,}",
        *10 ** centres[1],
        *10 ** centres[0],
    )
    return cells


def _check_same_nuclei(n_atac: NDArray[np.int64], n_umis: NDArray[np.int64]) -> None:
    """Raise AlignError if the barcodes of nuclei in the two libraries are not the same ones."""
    many = [
        counts >= max(MIN_COUNT, order_of_magnitude(counts[counts >= MIN_COUNT]))
        for counts in (n_atac, n_umis)
        if (counts >= MIN_COUNT).any()
    ]
    if len(many) < 2:
        return  # told by call_cells
    n_both, n_fewer = (many[0] & many[1]).sum(), min(many[0].sum(), many[1].sum())
    # a few barcodes of enormous counts can be all that is many: as many of either are compared too
    n = max(many[0].sum(), many[1].sum())
    first, second = (np.argsort(-counts, kind="stable")[:n] for counts in (n_atac, n_umis))
    n_highest = np.intersect1d(first, second, assume_unique=True).size
    if n_both < MIN_OVERLAP * n_fewer and n_highest < MIN_OVERLAP * n:
        message = (
            f"of {many[0].sum():,} barcodes with many ATAC fragments and {many[1].sum():,} with"
            f" many RNA UMIs only {n_both:,} are the same: the two libraries are of different"
            " samples, or the two whitelists do not pair line by line. Check this sample in the"
            " sheet."
        )
        raise AlignError(message)


def order_of_magnitude(counts: NDArray[np.int64]) -> float:
    """Return the threshold of one dimension: a tenth of the 99th percentile of the cells' counts.

    The number of cells is the one that agrees best with the number of counts above the threshold
    it gives (Cell Ranger's `ordmag` with the expected number of cells estimated).
    """
    ordered = np.sort(counts)[::-1].astype(float)
    expected = np.unique(np.geomspace(1, ordered.size, 1000).astype(int))
    top = ordered[np.round((1 - TOP_QUANTILE) * (expected - 1)).astype(int)]
    threshold = top / MAGNITUDE
    n_above = np.searchsorted(-ordered, -threshold, side="right")
    loss = (n_above - expected) ** 2 / expected
    return float(threshold[np.argmin(loss)])


def _two_means(points: NDArray[np.float64], is_cell: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the centres (others, cells) where K-means settles from the given groups."""
    if is_cell.all() or not is_cell.any():
        message = (
            f"cells cannot be told from empty barcodes: {is_cell.sum():,} of {is_cell.size:,}"
            " distinct barcodes lie within an order of magnitude of the highest counts."
            " Check that both libraries are of one sample and deep enough."
        )
        raise AlignError(message)
    for _ in range(MAX_ITERATIONS):
        centres = np.stack([points[~is_cell].mean(axis=0), points[is_cell].mean(axis=0)])
        distances = _distances(points, centres)
        nearer = distances[:, 1] < distances[:, 0]
        if np.array_equal(nearer, is_cell):
            break
        is_cell = nearer
    return centres


def _distances(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    difference = points[:, None, :] - centres  # (n_points, 2 centres, 2 dimensions)
    squared: NDArray[np.float64] = (difference**2).sum(axis=2)
    return squared
