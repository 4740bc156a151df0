"""Expression metrics beside the paper's three.

They ask what the three leave open: how much of a correlation is that types and depth differ, what
the error is where as many genes are expressed as not, and how values follow log-normalised
expression, of which the levels are only the order within a cell.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

from epifoundation.evaluation.score import Score

CORRELATIONS = (
    "pearson_within_type",
    "spearman_within_type",
    "pearson_given_depth",
    "pearson_log",
    "spearman_log",
)
EXPRESSION_VARIANTS = ("mse_balanced", *CORRELATIONS, "mse_log")
ROUNDING = 1e-9  # of levels and log-normalised values, which are of order 1

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Beside:
    """What the variants need of the test cells besides levels.

    `types` is (n_cells,), -1 where the type is unknown; `depth` (n_cells,) open peaks;
    `log_normalized` (n_cells, n_genes). `predicts_log` says that the method predicts log-normalised
    expression instead of levels. `seed` draws the balanced sample.
    """

    types: npt.NDArray[np.int64]
    depth: npt.NDArray[np.int64]
    log_normalized: sparse.csr_matrix
    seed: int
    predicts_log: bool = False


def per_gene_variants(
    target: Floats, predicted: Floats, predicted_ranks: Floats, log_target: Floats, beside: Beside
) -> dict[str, Floats]:
    """Return by metric, for a block of genes, what is averaged over genes; NaN: left out."""
    typed = beside.types >= 0
    within = [
        without_type_means(values[typed], beside.types[typed]) for values in (target, predicted)
    ]
    ranks = [stats.rankdata(_rounded(values), axis=0) for values in within]
    depth = np.log1p(beside.depth.astype(float))
    given_depth = [without_line(values, depth) for values in (target, predicted)]
    return {
        "pearson_within_type": correlation(within[0], within[1], ROUNDING),
        "spearman_within_type": correlation(ranks[0], ranks[1]),
        "pearson_given_depth": correlation(given_depth[0], given_depth[1], ROUNDING),
        "pearson_log": correlation(log_target, predicted),
        "spearman_log": correlation(stats.rankdata(log_target, axis=0), predicted_ranks),
        "mse_log": ((log_target - predicted) ** 2).mean(axis=0),
    }


def correlation(target: Floats, predicted: Floats, rounding: float = 0.0) -> Floats:
    """Return Pearson's r by column; NaN for a constant target, 0 for a constant prediction.

    Values are constant that differ by no more than `rounding`.
    """
    if not len(target):
        return np.full(target.shape[1], np.nan)
    varies = np.ptp(target, axis=0) > rounding
    flat = np.ptp(predicted, axis=0) <= rounding
    x = target - target.mean(axis=0)
    y = predicted - predicted.mean(axis=0)
    norm = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    r = np.divide((x * y).sum(axis=0), norm, out=np.zeros(len(norm)), where=~flat & (norm > 0))
    return np.where(varies, r, np.nan)


def without_type_means(values: Floats, types: npt.NDArray[np.int64]) -> Floats:
    """Return (n_cells, n_genes) values less the mean of the cell's type; 0 for a lone cell."""
    _, codes = np.unique(types, return_inverse=True)
    sizes = np.bincount(codes)
    members = sparse.csr_matrix(
        (np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(len(sizes), len(codes))
    )
    means = np.asarray(members @ values) / sizes[:, None]
    return np.asarray(values - means[codes])


def without_line(values: Floats, depth: Floats) -> Floats:
    """Return (n_cells, n_genes) residuals of a line in `depth`, by gene."""
    centred = depth - depth.mean()
    spread = float((centred**2).sum())
    residuals = values - values.mean(axis=0)
    if spread <= ROUNDING:
        return np.asarray(residuals)
    return np.asarray(residuals - np.outer(centred, centred @ residuals / spread))


def _rounded(values: Floats) -> Floats:
    """Return values of which those that differ by rounding alone are equal, for their ranks."""
    return np.asarray(np.round(values, 9))


def balanced_error(
    target: sparse.csr_matrix, predicted: npt.NDArray[np.floating], seed: int
) -> Score:
    """Return the MSE over as many genes that are not expressed as are, drawn in each cell."""
    rng = np.random.default_rng(seed)
    n_genes = target.shape[1]
    total, n_drawn = 0.0, 0
    for row in range(target.shape[0]):
        level = target[row].toarray().ravel().astype(np.float64)
        expressed, silent = np.flatnonzero(level > 0), np.flatnonzero(level == 0)
        n_each = min(len(expressed), len(silent))
        drawn = np.concatenate(
            [rng.choice(kind, n_each, replace=False) for kind in (expressed, silent)]
        )
        total += float(((level[drawn] - predicted[row, drawn]) ** 2).sum())
        n_drawn += len(drawn)
    if not n_drawn:
        return Score.undefined("in each cell all genes are expressed, or none is")
    return Score(total / n_drawn, f"{n_drawn / target.shape[0]:.0f} of {n_genes} genes a cell")


def variant_scores(found: dict[str, Floats], balanced: Score, beside: Beside) -> dict[str, Score]:
    """Return the scores named in EXPRESSION_VARIANTS from what is to be averaged over genes."""
    scores = {"mse_balanced": balanced}
    for name in CORRELATIONS:
        values = found[name]
        n_varying = int(np.isfinite(values).sum())
        note = f"{len(values) - n_varying} of {len(values)} genes constant, left out"
        scores[name] = (
            Score(float(np.nanmean(values)), note)
            if n_varying
            else Score.undefined(f"all {len(values)} genes are constant")
        )
    if not np.ptp(beside.depth):
        scores["pearson_given_depth"] = Score.undefined("all cells have the same depth")
    n_typed = int((beside.types >= 0).sum())
    for name in ("pearson_within_type", "spearman_within_type"):
        if not n_typed:
            scores[name] = Score.undefined("no test cell has a type")
        elif n_typed < len(beside.types) and np.isfinite(scores[name].value):
            told = f"{scores[name].note}; over the {n_typed} cells that have a type"
            scores[name] = Score(scores[name].value, told, n_cells=n_typed)
    scores["mse_log"] = (
        Score(float(found["mse_log"].mean()))
        if beside.predicts_log
        else Score.undefined("predicts levels, which are on another scale")
    )
    return {name: scores[name] for name in EXPRESSION_VARIANTS}
