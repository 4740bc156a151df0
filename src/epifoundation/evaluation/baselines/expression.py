"""Expression baselines: gene activity as the paper compares with, and simple controls.

Controls are fitted on the training cells; validation cells choose; test cells are only predicted.
"""

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from epifoundation.data.expression import bin_expression, log_normalize
from epifoundation.errors import EvaluationError
from epifoundation.evaluation.baselines.cells import ExpressionCells, Floats
from epifoundation.evaluation.baselines.lsi import component_choices, log_depth, lsi

logger = logging.getLogger(__name__)

PENALTIES = (1.0, 10.0, 100.0, 1000.0)
GENES_AT_ONCE = 1024  # bounds memory

Doubles = npt.NDArray[np.float64]


def gene_activity_levels(cells: ExpressionCells, seed: int) -> Floats:
    """Return gene activity in the target's levels: binned over the cell's own values.

    Log-normalising (paper B.2.2) keeps the order of a cell's values, so it cannot change levels.
    """
    levels = bin_expression(log_normalize(_test_activity(cells)), cells.n_bins)
    return np.asarray(levels.toarray(), dtype=np.float32)


def gene_activity_log(cells: ExpressionCells, seed: int) -> Floats:
    """Return log-normalised gene activity as it is (paper B.2.2): another scale than levels."""
    return np.asarray(log_normalize(_test_activity(cells)).toarray(), dtype=np.float32)


def _test_activity(cells: ExpressionCells) -> sparse.csr_matrix:
    if cells.activity is None:
        raise EvaluationError(cells.no_activity)
    return cells.activity[cells.split == "test"]


def gene_mean(cells: ExpressionCells, seed: int) -> Floats:
    """Return each gene's mean level over the training cells, the same for every test cell."""
    means = np.asarray(cells.levels[cells.split == "train"].mean(axis=0), dtype=np.float32)
    return np.tile(means.ravel(), (int((cells.split == "test").sum()), 1))


def depth_linear(cells: ExpressionCells, seed: int) -> Floats:
    """Return levels predicted by linear regression on the number of open peaks alone."""
    train = cells.split == "train"
    depth = log_depth(cells.accessible, train)
    model = fit_ridge(depth[train], cells.levels[train], penalty=0.0)
    return model.predict(depth[cells.split == "test"])


def lsi_ridge(cells: ExpressionCells, seed: int) -> Floats:
    """Return levels predicted by ridge regression on LSI components."""
    train, validation, test = (cells.split == part for part in ("train", "validation", "test"))
    if not validation.any():
        message = "no validation cell to choose settings with"
        raise EvaluationError(message)
    components = lsi(cells.accessible, train, seed)
    truth = sparse.csc_matrix(cells.levels[validation])
    best_error, best_model, best_k = np.inf, None, 0
    for k in component_choices(components.shape[1]):
        for penalty in PENALTIES:
            model = fit_ridge(components[train, :k], cells.levels[train], penalty)
            error = model.error(components[validation, :k], truth)
            if error < best_error:
                best_error, best_model, best_k = error, model, k
                logger.info("%d components, alpha=%g: MSE %.4f", k, penalty, error)
    assert best_model is not None, "at least one setting was tried"
    return best_model.predict(components[test, :best_k])


@dataclass(frozen=True)
class LinearMap:
    """`x @ weights + intercept`: (n_features, n_genes) and (n_genes,)."""

    weights: Doubles
    intercept: Doubles

    def predict(self, x: Floats) -> Floats:
        """Return (n_cells, n_genes) float32."""
        return np.asarray(x @ self.weights + self.intercept, dtype=np.float32)

    def error(self, x: Floats, truth: sparse.csc_matrix) -> float:
        """Return the mean squared error over all cells and genes."""
        total = 0.0
        for first in range(0, truth.shape[1], GENES_AT_ONCE):
            genes = slice(first, first + GENES_AT_ONCE)
            part = LinearMap(self.weights[:, genes], self.intercept[genes])
            total += float(((part.predict(x) - truth[:, genes].toarray()) ** 2).sum())
        return total / float(np.prod(truth.shape))


def fit_ridge(x: Floats, levels: sparse.csr_matrix, penalty: float) -> LinearMap:
    """Return ridge regression with a free intercept; the levels stay sparse."""
    centre = x.mean(axis=0)
    centred = np.asarray(x - centre, dtype=np.float64)
    gram = centred.T @ centred + penalty * np.eye(x.shape[1])
    cross = np.asarray(levels.astype(np.float64).T @ centred).T  # (n_features, n_genes)
    weights = np.linalg.lstsq(gram, cross, rcond=None)[0]  # a constant feature gets weight 0
    means = np.asarray(levels.mean(axis=0)).ravel()
    return LinearMap(weights, means - centre @ weights)
