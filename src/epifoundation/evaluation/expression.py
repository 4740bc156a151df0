"""The three expression metrics of the paper (B.3.3), per gene over test cells, then averaged."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

from epifoundation.errors import EvaluationError
from epifoundation.evaluation.expression_variants import (
    EXPRESSION_VARIANTS,
    Beside,
    balanced_error,
    correlation,
    per_gene_variants,
    variant_scores,
)
from epifoundation.evaluation.score import Score

EXPRESSION_METRICS = ("mse", "spearman", "pearson")
GENES_AT_ONCE = 1024  # bounds memory: test cells × this, in float64

Floats = npt.NDArray[np.float64]


def expression_metrics(
    target: sparse.csr_matrix,
    predicted: npt.NDArray[np.floating],
    beside: Beside | None = None,
) -> dict[str, Score]:
    """Return the scores named in EXPRESSION_METRICS; with `beside` EXPRESSION_VARIANTS too.

    A gene whose target is the same in all test cells has no correlation and is left out of the
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
    reason = _not_scorable(predicted)
    if reason:
        names = (*EXPRESSION_METRICS, *(EXPRESSION_VARIANTS if beside else ()))
        return dict.fromkeys(names, Score.undefined(reason))
    blocks = list(_blocks(target, predicted, beside))
    found = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    n_genes = target.shape[1]
    n_varying = int(np.isfinite(found["pearson"]).sum())
    note = f"{n_genes - n_varying} of {n_genes} genes constant in the test cells, left out"
    scores = {
        name: Score(float(np.nanmean(found[name])), note)
        if n_varying
        else Score.undefined(f"all {n_genes} genes are constant in the test cells")
        for name in ("spearman", "pearson")
    }
    scores = {
        "mse": Score(float(found["mse"].mean()), f"{n_genes} genes" if n_varying else ""),
        **scores,
    }
    if beside is None:
        return scores
    balanced = balanced_error(target, predicted, beside.seed)
    return scores | variant_scores(found, balanced, beside)


def _not_scorable(predicted: npt.NDArray[np.floating]) -> str:
    if min(predicted.shape) == 0:
        return "no test cell or no gene"
    broken = int((~np.isfinite(predicted)).any(axis=1).sum())
    return f"the prediction of {broken} of {len(predicted)} cells is not finite" if broken else ""


def _blocks(
    target: sparse.csr_matrix, predicted: npt.NDArray[np.floating], beside: Beside | None
) -> Iterator[dict[str, Floats]]:
    """Yield by metric what is averaged over genes, of some genes at a time."""
    columns = sparse.csc_matrix(target)
    log_columns = None if beside is None else sparse.csc_matrix(beside.log_normalized)
    for first in range(0, target.shape[1], GENES_AT_ONCE):
        some = slice(first, first + GENES_AT_ONCE)
        x = columns[:, some].toarray().astype(np.float64)
        y = predicted[:, some].astype(np.float64)
        ranks = stats.rankdata(y, axis=0)
        found = {
            "mse": ((x - y) ** 2).mean(axis=0),
            "spearman": correlation(stats.rankdata(x, axis=0), ranks),
            "pearson": correlation(x, y),
        }
        if beside is not None and log_columns is not None:
            found |= per_gene_variants(x, y, ranks, log_columns[:, some].toarray(), beside)
        yield found
