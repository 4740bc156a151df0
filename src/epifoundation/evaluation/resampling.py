"""Scores of resampled test cells, for intervals and for paired differences between methods.

A resample is a row of weights, one per test cell, that sums to the number of cells. All methods of
a data set are given the same rows, so that differences of their resampled scores are paired.
Accuracy, F1 and MSE are computed anew of each resample. ROC-AUC and the correlations are so where
whole groups of cells are drawn, from what each group adds. Where single cells are drawn they are so
to first order, by the influence of each cell: exact ones would read cells × genes once per
resample. For few donors that fails, whose weights move by whole multiples. The ranks of Spearman's
are those among all test cells: its influence, and its sums, hold the others' ranks fixed.
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
ROUNDING = 1e-10  # of the variance in a resample, in units of that of all cells

Floats = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]  # (n_cells,), what was drawn whole: 0 … n_groups - 1
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
    predictions: pd.DataFrame,
    cell_types: pd.Series,
    weights: Floats,
    groups: Groups | None = None,
) -> Resampled:
    """Return accuracy, micro F1, macro F1, F1 of each type, and ROC-AUC of each resample.

    Parameters
    ----------
    predictions, cell_types
        As `annotation_metrics` takes them; `cell_types` in the order of the predictions.
    weights
        (n_resamples, n_cells).
    groups
        Where groups were drawn whole, the group of each cell: then the AUC is exact.
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
    if groups is None:
        auc = _auc_resampled(predictions, truth, weights)
    else:
        auc = _auc_of_groups(predictions, truth, _of_groups(weights, groups), groups)
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


def _of_groups(weights: Floats, groups: Groups) -> Floats:
    """Return (n_resamples, n_groups): the weight that all cells of a group have."""
    _, first = np.unique(groups, return_index=True)
    return np.asarray(weights[:, first])


def _auc_of_groups(
    predictions: pd.DataFrame, truth: np.ndarray, weights: Floats, groups: Groups
) -> Floats:
    """Return the AUC of each resample; of a type, from the pairs won between any two groups."""
    n_groups = weights.shape[1]
    present = np.unique(truth)
    areas = np.full((len(present), len(weights)), np.nan)  # NaN: the resample has no such type
    for i, name in enumerate(present):
        positive = truth == name
        sizes = [np.bincount(groups[own], minlength=n_groups) for own in (positive, ~positive)]
        n_pairs = (weights @ sizes[0]) * (weights @ sizes[1])
        won = np.outer(*sizes) / 2  # never scored: 0.5
        if SCORE_PREFIX + name in predictions:
            scores = predictions[SCORE_PREFIX + name].to_numpy()
            won = _pairs_won(scores, positive, groups, n_groups)
        of_pairs = ((weights @ won) * weights).sum(axis=1)
        areas[i, n_pairs > 0] = of_pairs[n_pairs > 0] / n_pairs[n_pairs > 0]
    defined = np.isfinite(areas)
    n_defined = defined.sum(axis=0)
    total = np.where(defined, areas, 0).sum(axis=0)
    return np.where(n_defined > 0, total / np.maximum(n_defined, 1), np.nan)


def _pairs_won(
    scores: np.ndarray, positive: npt.NDArray[np.bool_], groups: Groups, n_groups: int
) -> Floats:
    """Return, of positives of group i and others of group j, how many are in order; ties half."""
    won = np.zeros((n_groups, n_groups))
    ours = scores[positive]
    for j in range(n_groups):
        theirs = np.sort(scores[~positive & (groups == j)])
        places = [np.searchsorted(theirs, ours, side) for side in ("left", "right")]
        below = (places[0] + places[1]) / 2
        won[:, j] = np.bincount(groups[positive], weights=below, minlength=n_groups)
    return won


def expression_resampled(
    target: sparse.csr_matrix,
    predicted: npt.NDArray[np.floating],
    weights: Floats,
    groups: Groups | None = None,
) -> Resampled:
    """Return MSE, and the means over genes of Pearson's and Spearman's r, of each resample.

    Parameters are those of `expression_metrics`; `weights` is (n_resamples, n_cells). Where groups
    were drawn whole, `groups` has that of each cell: then Pearson's r is exact, and Spearman's but
    for its ranks.
    """
    if groups is not None:
        return _expression_of_groups(target, predicted, weights, groups)
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


def _expression_of_groups(
    target: sparse.csr_matrix,
    predicted: npt.NDArray[np.floating],
    weights: Floats,
    groups: Groups,
) -> Resampled:
    """Return what `expression_resampled` does; as in `expression_metrics`, of each resample."""
    n_cells, n_genes = target.shape
    members = sparse.csr_matrix((np.ones(n_cells), (groups, np.arange(n_cells))))
    per_draw = _of_groups(weights, groups)
    errors = np.zeros(n_cells)
    totals, n_varying = np.zeros((2, len(weights))), np.zeros(len(weights))
    for x, y in _blocks(target, predicted):
        errors += ((x - y) ** 2).sum(axis=1) / n_genes
        ranked = stats.rankdata(x, axis=0), stats.rankdata(y, axis=0)
        for i, pair in enumerate(((x, y), ranked)):
            r = _correlations_of_groups(*pair, members, per_draw)
            totals[i] += np.nansum(r, axis=1)
        n_varying += np.isfinite(r).sum(axis=1)
    means = np.where(n_varying > 0, totals / np.maximum(n_varying, 1), np.nan)
    return {"mse": weights @ errors / n_cells, "pearson": means[0], "spearman": means[1]}


def _correlations_of_groups(
    x: Floats, y: Floats, members: sparse.csr_matrix, weights: Floats
) -> Floats:
    """Return r by resample and column, from sums over groups.

    NaN where x is constant in a resample, 0 where y alone is. `members` is (n_groups, n_cells),
    `weights` (n_resamples, n_groups).
    """
    x, y = _standardised(x), _standardised(y)
    n = weights @ np.asarray(members.sum(axis=1))

    def mean(values: Floats) -> Floats:
        return np.asarray(weights @ (members @ values) / n)

    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x**2) - mean_x**2, mean(y**2) - mean_y**2
    varies = (variance_x > ROUNDING) & (variance_y > ROUNDING)
    norm = np.sqrt(np.where(varies, variance_x * variance_y, 1))
    r = np.where(varies, (mean(x * y) - mean_x * mean_y) / norm, 0)
    return np.where(variance_x > ROUNDING, r, np.nan)


def _standardised(values: Floats) -> Floats:
    """Return columns of mean 0 and deviation 1; 0 where constant."""
    centred = np.where(np.ptp(values, axis=0) > 0, values - values.mean(axis=0), 0)
    deviation = centred.std(axis=0)
    return np.asarray(centred / np.where(deviation > 0, deviation, 1))


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
