"""Expression baselines: gene activity as the paper compares with, and simple controls.

Controls are fitted on the training cells; validation cells choose; test cells are only predicted.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from epifoundation.data.expression import bin_expression, log_normalize
from epifoundation.errors import EvaluationError
from epifoundation.evaluation.baselines.affine import fit_lines
from epifoundation.evaluation.baselines.cells import ExpressionCells, Floats
from epifoundation.evaluation.baselines.lsi import NEIGHBOURS, component_choices, log_depth, lsi

logger = logging.getLogger(__name__)

PENALTIES = (1.0, 10.0, 100.0, 1000.0)
KERNEL_PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
MAX_KERNEL_CELLS = 20_000
GENES_AT_ONCE = 1024  # bounds memory
CELLS_AT_ONCE = 2048

Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]
Predict = Callable[[slice], npt.NDArray[np.floating]]  # of some genes: (n_cells, n_genes)


def gene_activity_levels(cells: ExpressionCells, seed: int) -> Floats:
    """Return gene activity in the target's levels: binned over the cell's own values.

    Log-normalising (paper B.2.2) keeps the order of a cell's values, so it cannot change levels.
    """
    levels = bin_expression(log_normalize(_activity(cells, "test")), cells.n_bins)
    return np.asarray(levels.toarray(), dtype=np.float32)


def gene_activity_log(cells: ExpressionCells, seed: int) -> Floats:
    """Return log-normalised gene activity as it is (paper B.2.2): another scale than levels."""
    return np.asarray(log_normalize(_activity(cells, "test")).toarray(), dtype=np.float32)


def gene_activity_affine(cells: ExpressionCells, seed: int) -> Floats:
    """Return log-normalised gene activity on the target's scale, by a line fitted per gene."""
    activity, levels = _activity(cells, "train"), cells.levels[cells.split == "train"]
    parts = [slice(row, row + CELLS_AT_ONCE) for row in range(0, levels.shape[0], CELLS_AT_ONCE)]
    lines = fit_lines(
        (log_normalize(activity[part]).toarray(), levels[part].toarray()) for part in parts
    )
    return lines(log_normalize(_activity(cells, "test")).toarray())


def _activity(cells: ExpressionCells, part: str) -> sparse.csr_matrix:
    if cells.activity is None:
        raise EvaluationError(cells.no_activity)
    return cells.activity[cells.split == part]


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
    train = _needs_validation(cells)
    components = lsi(cells.accessible, train)
    settings = (
        (f"{k} components, alpha={penalty:g}", k, penalty)
        for k in component_choices(components.shape[1])
        for penalty in PENALTIES
    )

    def fit(k: int, penalty: float) -> Callable[[Rows], Predict]:
        model = fit_ridge(components[train, :k], cells.levels[train], penalty)
        return lambda rows: lambda genes: model.of_genes(genes).predict(components[rows, :k])

    return _best(cells, ((name, fit(k, penalty)) for name, k, penalty in settings))


def binary_ridge(cells: ExpressionCells, seed: int) -> Floats:
    """Return levels predicted by ridge regression on the open peaks, in its kernel form."""
    train = _needs_validation(cells)
    if train.sum() > MAX_KERNEL_CELLS:
        message = (
            f"{train.sum():,} training cells are too many for ridge regression on peaks, which"
            f" keeps a number per pair of cells (at most {MAX_KERNEL_CELLS:,})"
        )
        raise EvaluationError(message)
    peaks = cells.accessible.astype(np.float64)
    centre = np.asarray(peaks[train].mean(axis=0))
    products = (peaks @ peaks[train].T).toarray()
    products -= np.asarray(peaks @ centre.T) + np.asarray(peaks[train] @ centre.T).T
    products += float((centre**2).sum())
    values, vectors = np.linalg.eigh(products[train])
    projected = products @ vectors
    levels = sparse.csc_matrix(cells.levels[train])

    def fit(penalty: float) -> Callable[[Rows], Predict]:
        scaled = vectors / (np.maximum(values, 0) + penalty)

        def predict(rows: Rows, genes: slice) -> Doubles:
            target = levels[:, genes].toarray().astype(np.float64)
            means = target.mean(axis=0)
            weights = scaled.T @ (target - means)
            return np.asarray(projected[rows] @ weights + means)

        return lambda rows: partial(predict, rows)

    return _best(cells, ((f"alpha={alpha:g}", fit(alpha)) for alpha in KERNEL_PENALTIES))


def lsi_neighbours(cells: ExpressionCells, seed: int) -> Floats:
    """Return the mean levels of the nearest training cells in LSI, weighted by closeness."""
    train = _needs_validation(cells)
    components = lsi(cells.accessible, train)
    levels = sparse.csr_matrix(cells.levels[train], dtype=np.float64)

    def fit(k: int, n_neighbours: int) -> Callable[[Rows], Predict]:
        n_used = min(n_neighbours, int(train.sum()))
        search = NearestNeighbors(n_neighbors=n_used, metric="cosine")
        search.fit(components[train, :k])

        def at(rows: Rows) -> Predict:
            distance, place = search.kneighbors(components[rows, :k])
            closeness = 1 / np.maximum(distance, np.finfo(float).eps)
            closeness /= closeness.sum(axis=1, keepdims=True)
            first = np.arange(0, closeness.size + 1, n_used)
            shape = (len(closeness), levels.shape[0])
            weights = sparse.csr_matrix((closeness.ravel(), place.ravel(), first), shape=shape)
            mean = sparse.csc_matrix(weights @ levels)
            return lambda genes: mean[:, genes].toarray()

        return at

    settings = product(component_choices(components.shape[1]), NEIGHBOURS)
    return _best(cells, ((f"{k} components, {n} neighbours", fit(k, n)) for k, n in settings))


def _needs_validation(cells: ExpressionCells) -> Rows:
    """Return which cells are for training, where there are others to choose settings with."""
    if not (cells.split == "validation").any():
        message = "no validation cell to choose settings with"
        raise EvaluationError(message)
    return np.asarray(cells.split == "train")


def _best(
    cells: ExpressionCells, settings: Iterable[tuple[str, Callable[[Rows], Predict]]]
) -> Floats:
    """Return what the setting with the least squared error on validation cells predicts."""
    validation, test = (np.asarray(cells.split == part) for part in ("validation", "test"))
    truth = sparse.csc_matrix(cells.levels[validation])
    n_genes = truth.shape[1]
    best_error = np.inf
    for name, fitted in settings:
        predict = fitted(validation)
        total = sum(
            float(((predict(genes) - truth[:, genes].toarray()) ** 2).sum())
            for genes in _blocks(n_genes)
        )
        if total < best_error:
            best_error, best = total, fitted
            logger.info("%s: MSE %.4f", name, total / float(np.prod(truth.shape)))
    levels = np.empty((int(test.sum()), n_genes), dtype=np.float32)
    predict = best(test)
    for genes in _blocks(n_genes):
        levels[:, genes] = predict(genes)
    return levels


def _blocks(n_genes: int) -> list[slice]:
    return [slice(first, first + GENES_AT_ONCE) for first in range(0, n_genes, GENES_AT_ONCE)]


@dataclass(frozen=True)
class LinearMap:
    """`x @ weights + intercept`: (n_features, n_genes) and (n_genes,)."""

    weights: Doubles
    intercept: Doubles

    def predict(self, x: Floats) -> Floats:
        """Return (n_cells, n_genes) float32."""
        return np.asarray(x @ self.weights + self.intercept, dtype=np.float32)

    def of_genes(self, genes: slice) -> "LinearMap":
        """Return the map to some of the genes."""
        return LinearMap(self.weights[:, genes], self.intercept[genes])


def fit_ridge(x: Floats, levels: sparse.csr_matrix, penalty: float) -> LinearMap:
    """Return ridge regression with a free intercept; the levels stay sparse."""
    centre = x.mean(axis=0)
    centred = np.asarray(x - centre, dtype=np.float64)
    gram = centred.T @ centred + penalty * np.eye(x.shape[1])
    cross = np.asarray(levels.astype(np.float64).T @ centred).T  # (n_features, n_genes)
    weights = np.linalg.lstsq(gram, cross, rcond=None)[0]  # a constant feature gets weight 0
    means = np.asarray(levels.mean(axis=0)).ravel()
    return LinearMap(weights, means - centre @ weights)
