"""Scores of resampled test cells, for intervals and for paired differences between methods.

A resample is a row of weights, one per test cell, that sums to the number of cells. All methods of
a data set are given the same rows, so that differences of their resampled scores are paired.
Accuracy, F1 and MSE are computed anew of each resample. ROC-AUC and the correlations are so to
first order, by the influence of each cell (of its rank, for Spearman's): exact ones would read
cells × genes once per resample.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse, stats

from epifoundation.evaluation.annotation import SCORE_PREFIX

N_RESAMPLES = 500
F1_PREFIX = "f1:"  # metric of one type
GENES_AT_ONCE = 1024
FEWEST_DONORS = 4  # below it nothing can be said over donors

Floats = npt.NDArray[np.float64]
Resampled = dict[str, Floats]  # metric: (n_resamples,)


def cell_weights(n_cells: int, seed: int, n_resamples: int = N_RESAMPLES) -> Floats:
    """Return (n_resamples, n_cells): how often each cell is drawn, with replacement."""
    rng = np.random.default_rng([seed, n_cells])
    shares = np.full(n_cells, 1 / max(n_cells, 1))
    return rng.multinomial(n_cells, shares, size=n_resamples).astype(float)


def donor_weights(donors: pd.Series, seed: int, n_resamples: int = N_RESAMPLES) -> Floats | None:
    """Return weights by drawing donors, with all of their cells; None below FEWEST_DONORS.

    Nor where the donor of a cell is unknown. Weights are scaled to sum to the number of cells.
    """
    codes, names = pd.factorize(donors.where(donors.fillna("") != ""), sort=True)
    if len(names) < FEWEST_DONORS or (codes < 0).any():
        return None
    rng = np.random.default_rng([seed, len(names)])
    shares = np.full(len(names), 1 / len(names))
    weights = rng.multinomial(len(names), shares, size=n_resamples)[:, codes].astype(float)
    drawn: Floats = weights * len(donors) / weights.sum(axis=1, keepdims=True)
    return drawn


def interval(values: Floats) -> tuple[float, float] | None:
    """Return the 2.5 and 97.5 percentiles, or None where a resample has no value."""
    if not len(values) or not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def annotation_resampled(
    predictions: pd.DataFrame, cell_types: pd.Series, weights: Floats
) -> Resampled:
    """Return accuracy, micro F1, macro F1, F1 of each type, and ROC-AUC of each resample.

    Parameters
    ----------
    predictions, cell_types
        As `annotation_metrics` takes them; `cell_types` in the order of the predictions.
    weights
        (n_resamples, n_cells).
    """
    truth = cell_types.astype(str).to_numpy()
    predicted = predictions["predicted_cell_type"].astype(str).to_numpy()
    correct = weights @ (truth == predicted) / weights.sum(axis=1)
    names = np.union1d(truth, predicted)
    is_true, is_predicted = truth[:, None] == names, predicted[:, None] == names
    hits = weights @ (is_true & is_predicted)
    sizes = weights @ is_true + weights @ is_predicted
    f1 = np.divide(2 * hits, sizes, out=np.full_like(hits, np.nan), where=sizes > 0)
    each = {F1_PREFIX + name: f1[:, i] for i, name in enumerate(names) if name in set(truth)}
    macro = np.nanmean(f1, axis=1)
    auc = _auc_resampled(predictions, truth, weights)
    return {"accuracy": correct, "macro_f1": macro, "micro_f1": correct, "roc_auc": auc, **each}


def type_f1(predictions: pd.DataFrame, cell_types: pd.Series) -> dict[str, tuple[float, int]]:
    """Return F1 and number of test cells of every type that occurs, by metric name."""
    once = np.ones((1, len(cell_types)))
    found = annotation_resampled(predictions[["predicted_cell_type"]], cell_types, once)
    support = cell_types.astype(str).value_counts()
    return {
        metric: (float(values[0]), int(support[metric.removeprefix(F1_PREFIX)]))
        for metric, values in found.items()
        if metric.startswith(F1_PREFIX)
    }


def _auc_resampled(predictions: pd.DataFrame, truth: np.ndarray, weights: Floats) -> Floats:
    present = np.unique(truth)
    if len(present) == 1:
        return np.full(len(weights), np.nan)
    areas, influence = [], np.zeros(len(truth))
    for name in present:
        if SCORE_PREFIX + name not in predictions:
            areas.append(0.5)
            continue
        positive = truth == name
        scores = predictions[SCORE_PREFIX + name].to_numpy()
        n_positive, n_negative = positive.sum(), (~positive).sum()
        ranks = stats.rankdata(scores)
        below = np.empty(len(truth))  # share of the other kind that a cell is on the right side of
        below[positive] = (ranks[positive] - stats.rankdata(scores[positive])) / n_negative
        rank_within = stats.rankdata(scores[~positive])
        below[~positive] = 1 - (ranks[~positive] - rank_within) / n_positive
        area = below[positive].mean()
        areas.append(float(area))
        influence[positive] += (below[positive] - area) / n_positive
        influence[~positive] += (below[~positive] - area) / n_negative
    linear: Floats = np.mean(areas) + (weights - 1) @ influence / len(present)
    return np.clip(linear, 0, 1)


def expression_resampled(
    target: sparse.csr_matrix, predicted: npt.NDArray[np.floating], weights: Floats
) -> Resampled:
    """Return MSE, and the means over genes of Pearson's and Spearman's r, of each resample.

    Parameters are those of `expression_metrics`; `weights` is (n_resamples, n_cells).
    """
    n_cells, n_genes = target.shape
    errors, n_varying = np.zeros(n_cells), 0
    means, influences = np.zeros(2), np.zeros((2, n_cells))
    for x, y in _blocks(target, predicted):
        errors += ((x - y) ** 2).sum(axis=1) / n_genes
        n_varying += int((np.ptp(x, axis=0) > 0).sum())
        ranked = stats.rankdata(x, axis=0), stats.rankdata(y, axis=0)
        for i, pair in enumerate(((x, y), ranked)):
            r, influence = _correlations(*pair)
            means[i] += r.sum()
            influences[i] += influence
    mse = weights @ errors / n_cells
    if not n_varying:
        empty = np.full(len(weights), np.nan)
        return {"mse": mse, "pearson": empty, "spearman": empty}
    linear = [
        (mean + (weights - 1) @ influence / n_cells) / n_varying
        for mean, influence in zip(means, influences, strict=True)
    ]
    return {"mse": mse, "pearson": linear[0], "spearman": linear[1]}


def mse_and_pearson(
    target: sparse.csr_matrix, predicted: npt.NDArray[np.floating]
) -> tuple[float, float]:
    """Return both of these cells, as `expression_metrics` would; NaN where no gene varies."""
    n_varying, total, errors = 0, 0.0, 0.0
    for x, y in _blocks(target, predicted):
        errors += float(((x - y) ** 2).mean(axis=0).sum())
        n_varying += int((np.ptp(x, axis=0) > 0).sum())
        total += float(_correlations(x, y)[0].sum())
    return errors / target.shape[1], total / n_varying if n_varying else float("nan")


def _blocks(
    target: sparse.csr_matrix, predicted: npt.NDArray[np.floating]
) -> Iterator[tuple[Floats, Floats]]:
    columns = sparse.csc_matrix(target)
    for first in range(0, target.shape[1], GENES_AT_ONCE):
        some = slice(first, first + GENES_AT_ONCE)
        yield columns[:, some].toarray().astype(float), predicted[:, some].astype(float)


def _correlations(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return r by column (0 where one is constant), and each row's influence, summed over r."""
    varies = (np.ptp(x, axis=0) > 0) & (np.ptp(y, axis=0) > 0)
    x, y = ((v[:, varies] - v[:, varies].mean(axis=0)) for v in (x, y))
    x, y = (v / np.sqrt((v**2).mean(axis=0)) for v in (x, y))
    r = (x * y).mean(axis=0)
    influence = (x * y - r * (x**2 + y**2) / 2).sum(axis=1)
    return r, influence
