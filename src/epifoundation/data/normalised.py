"""Integer counts out of matrices that hold them, or what Seurat's LogNormalize made of them."""

import logging

import numpy as np
from scipy import sparse

logger = logging.getLogger(__name__)

TOLERANCE = 0.01  # how far from a whole number, in counts; float32 keeps some 1e-6 of a value
LARGEST = 15.0  # of log(1 + 1e4 × a share of a cell's counts) it is 9.2; scale factors vary


def integers_of(values: sparse.csr_matrix) -> sparse.csr_matrix | None:
    """Return counts (CSR int32, sorted, no zero stored) of rows, None where they hold none.

    Rows of log(1 + factor × count) become counts by the smallest value of each, which stands for
    one count: a cell without any gene of a single count is not recognised, or comes out scaled.
    """
    if not np.isfinite(values.data).all() or values.data.min(initial=0) < 0:
        return None
    whole = np.array_equal(values.data, np.floor(values.data))
    counts = values.copy() if whole else _undone(values)
    if counts is None:
        return None
    counts = counts.astype(np.int32)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    return counts


def _undone(values: sparse.csr_matrix) -> sparse.csr_matrix | None:
    if values.data.max(initial=0) > LARGEST:
        return None
    cells = sparse.csr_matrix(values, dtype=np.float64, copy=True)
    cells.eliminate_zeros()
    shares = np.expm1(cells.data)
    filled = np.flatnonzero(np.diff(cells.indptr))
    smallest = np.ones(cells.shape[0])
    smallest[filled] = np.minimum.reduceat(shares, cells.indptr[filled])
    counts = shares / np.repeat(smallest, np.diff(cells.indptr))
    nearest = np.rint(counts)
    if (np.abs(counts - nearest) > TOLERANCE * np.maximum(1, nearest / 1000)).any():
        return None
    cells.data = nearest
    return cells
