"""Latent semantic indexing for the controls, fitted on some cells and applied to all."""

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from epifoundation.evaluation.baselines.cells import Floats

MAX_COMPONENTS = 50
COMPONENTS = (10, 20, 30, 50)  # tried by the controls; fewer where there are fewer cells
SCALE = 1e4
SVD_SEED = 0
NEIGHBOURS = (5, 10, 20)  # tried by the controls


def tf_idf(accessible: sparse.csr_matrix, fit: npt.NDArray[np.bool_]) -> sparse.csr_matrix:
    """Return log(1 + 10^4 · tf · idf), idf = fit cells / fit cells that have the peak.

    Peaks of no fit cell are dropped; tf is 1 / open peaks of the cell.
    """
    n_open = np.asarray(accessible[fit].sum(axis=0)).ravel()
    seen = n_open > 0
    matrix = sparse.csr_matrix(accessible[:, seen], dtype=np.float64)
    depth = np.asarray(matrix.sum(axis=1)).ravel()
    frequency = sparse.diags(np.divide(1.0, depth, out=np.zeros(len(depth)), where=depth > 0))
    weighted = frequency @ matrix @ sparse.diags(fit.sum() / n_open[seen])
    weighted.data = np.log1p(SCALE * weighted.data)
    return sparse.csr_matrix(weighted)


def lsi(accessible: sparse.csr_matrix, fit: npt.NDArray[np.bool_]) -> Floats:
    """Return (n_cells, up to 50) components, each of mean 0 and deviation 1 over the fit cells.

    The decomposition is the same for every seed: a seed changes the cells, not the method.
    """
    weighted = tf_idf(accessible, fit)
    n_components = min(MAX_COMPONENTS, int(fit.sum()) - 1, weighted.shape[1] - 1)
    _, _, directions = randomized_svd(
        weighted[fit], n_components=n_components, random_state=SVD_SEED, n_iter=7
    )
    return standardised(np.asarray(weighted @ directions.T), fit)


def log_depth(accessible: sparse.csr_matrix, fit: npt.NDArray[np.bool_]) -> Floats:
    """Return log(1 + open peaks), (n_cells, 1), standardised over the fit cells."""
    return standardised(np.log1p(np.asarray(accessible.sum(axis=1), dtype=np.float64)), fit)


def standardised(values: Floats, fit: npt.NDArray[np.bool_]) -> Floats:
    """Return columns with mean 0 and deviation 1 over the fit cells."""
    deviation = values[fit].std(axis=0)
    return np.asarray((values - values[fit].mean(axis=0)) / np.where(deviation > 0, deviation, 1))


def component_choices(n_available: int) -> list[int]:
    """Return the numbers of components to try."""
    return [k for k in COMPONENTS if k <= n_available] or [n_available]
