"""Which barcodes are cells: both modalities together, as 10x describes it for Cell Ranger ARC."""

import logging

import numpy as np
from numpy.typing import NDArray

from epifoundation.errors import AlignError

logger = logging.getLogger(__name__)

TOP_QUANTILE = 0.99  # of the expected cells: a barcode with a typically high count ...
MAGNITUDE = 10.0  # ... and what lies within an order of magnitude of it
MAX_ITERATIONS = 200


def call_cells(n_atac: NDArray[np.int64], n_umis: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which barcodes are cells.

    Barcodes with both counts above zero are points on log scales; points that coincide count once,
    so that the mass of almost empty barcodes does not outweigh the cells. A threshold an order of
    magnitude below the top in each dimension gives two first groups, and K-means with two centres
    settles them. Cell Ranger ARC's ATAC count is of cut sites in the sample's own peaks; here it is
    of all fragments, since no peaks are called per sample.
    """
    both = np.flatnonzero((n_atac > 0) & (n_umis > 0))
    if both.size == 0:
        message = (
            "no barcode has both ATAC fragments and RNA UMIs. The two libraries are of different"
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
