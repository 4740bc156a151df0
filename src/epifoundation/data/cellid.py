"""How well expression of clusters follows profiles of types: one rank correlation, or CELLiD's two.

Both take the same tables: `means`, clusters × genes, and `reference`, types × the same genes.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]

KEPT_TYPES = 20  # CELLiD of the DISCO web site: the best of round one that enter round two


def one_round(means: Floats, reference: Floats, n_genes: int) -> Floats:
    """Return clusters × types: Spearman over the genes most variable among all the types."""
    genes = most_variable(reference, n_genes)
    return spearman(means[:, genes], reference[:, genes])


def two_rounds(means: Floats, reference: Floats, n_genes: int) -> Floats:
    """Return clusters × types as DISCO's web CELLiD: minus infinity for what round one drops.

    Round one is Spearman over all genes; the 20 best types of a cluster go on. Round two is
    Spearman over the genes most variable among these.
    """
    first = spearman(means, reference)
    scores = np.full_like(first, -np.inf)
    for cluster, row in enumerate(first):
        kept = np.sort(np.argsort(-row, kind="stable")[:KEPT_TYPES])
        kept = kept[np.isfinite(row[kept])]
        if len(kept):
            scores[cluster, kept] = one_round(means[[cluster]], reference[kept], n_genes)[0]
    return scores


def most_variable(reference: Floats, n_genes: int) -> NDArray[np.int64]:
    """Return the columns of largest variance over the types, descending; ties keep their order."""
    variance = reference.var(axis=0)
    return np.argsort(-variance, kind="stable")[:n_genes]


def spearman(one: Floats, other: Floats) -> Floats:
    """Return the rank correlation of every row of `one` with every row of `other`.

    A row that is constant correlates with nothing: minus infinity.
    """
    scaled = []
    for rows in (one, other):
        ranks = rankdata(rows, axis=1)
        ranks -= ranks.mean(axis=1, keepdims=True)
        length = np.linalg.norm(ranks, axis=1, keepdims=True)
        scaled.append(np.divide(ranks, length, out=np.full_like(ranks, np.nan), where=length > 0))
    correlation = scaled[0] @ scaled[1].T
    return np.asarray(np.where(np.isnan(correlation), -np.inf, correlation))
