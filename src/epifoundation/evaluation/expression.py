"""The three expression metrics of the paper (B.3.3), per gene over test cells, then averaged."""

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

from epifoundation.errors import EvaluationError
from epifoundation.evaluation.score import Score

EXPRESSION_METRICS = ("mse", "spearman", "pearson")
GENES_AT_ONCE = 1024  # bounds memory: test cells × this, in float64

Floats = npt.NDArray[np.float64]


def expression_metrics(
    target: sparse.csr_matrix, predicted: npt.NDArray[np.floating]
) -> dict[str, Score]:
    """Return the scores named in EXPRESSION_METRICS.

    A gene whose target is the same in all test cells has no correlation and is left out of both
    averages (it counts in the MSE); a gene whose prediction is constant counts 0.

    Parameters
    ----------
    target
        (n_cells, n_genes) expression levels 0 … n_bins - 1.
    predicted
        (n_cells, n_genes) predicted levels.
    """
    if target.shape != predicted.shape:
        message = f"{predicted.shape} predicted and {target.shape} measured cells × genes differ"
        raise EvaluationError(message)
    n_cells, n_genes = target.shape
    if min(n_cells, n_genes) == 0:
        return dict.fromkeys(EXPRESSION_METRICS, Score.undefined("no test cell or no gene"))
    if not np.isfinite(predicted).all():
        broken = int((~np.isfinite(predicted)).any(axis=1).sum())
        reason = f"the prediction of {broken} of {n_cells} cells is not finite"
        return dict.fromkeys(EXPRESSION_METRICS, Score.undefined(reason))
    columns = sparse.csc_matrix(target)
    blocks = [
        _per_gene(
            columns[:, first : first + GENES_AT_ONCE].toarray().astype(np.float64),
            predicted[:, first : first + GENES_AT_ONCE].astype(np.float64),
        )
        for first in range(0, n_genes, GENES_AT_ONCE)
    ]
    errors, spearman, pearson = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    n_varying = int(np.isfinite(pearson).sum())
    if n_varying == 0:
        constant = Score.undefined(f"all {n_genes} genes are constant in the test cells")
        return {"mse": Score(float(errors.mean())), "spearman": constant, "pearson": constant}
    note = f"{n_genes - n_varying} of {n_genes} genes constant in the test cells, left out"
    return {
        "mse": Score(float(errors.mean()), f"{n_genes} genes"),
        "spearman": Score(float(np.nanmean(spearman)), note),
        "pearson": Score(float(np.nanmean(pearson)), note),
    }


def _per_gene(target: Floats, predicted: Floats) -> tuple[Floats, Floats, Floats]:
    errors = ((target - predicted) ** 2).mean(axis=0)
    ranks = stats.rankdata(target, axis=0), stats.rankdata(predicted, axis=0)
    return errors, _correlation(*ranks), _correlation(target, predicted)


def _correlation(target: Floats, predicted: Floats) -> Floats:
    """Return Pearson's r by column; NaN for a constant target, 0 for a constant prediction."""
    varies = np.ptp(target, axis=0) > 0
    flat = np.ptp(predicted, axis=0) == 0
    x = target - target.mean(axis=0)
    y = predicted - predicted.mean(axis=0)
    norm = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    r = np.divide((x * y).sum(axis=0), norm, out=np.zeros(len(norm)), where=~flat & (norm > 0))
    return np.where(varies, r, np.nan)
