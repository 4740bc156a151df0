"""Principal components of more cells than memory holds, exact, in three readings."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

MOST_GENES = 2_000


def streamed_pca(
    blocks: Callable[[], Iterator[sparse.csr_matrix]],
    *,
    n_genes: int,
    n_components: int,
    most_genes: int = MOST_GENES,
) -> NDArray[np.float32]:
    """Return cells × components of the `most_genes` genes that vary most, centred, not scaled.

    `blocks()` yields log-normalised cells × genes, the same at each call. The covariance is summed
    up block by block, so that memory follows genes squared. Signs are fixed: the largest loading
    of a component is positive. There are two components at least, of zeros where cells or genes
    are too few.
    """
    total, squares, n_cells = np.zeros(n_genes), np.zeros(n_genes), 0
    for block in blocks():
        total += np.asarray(block.sum(axis=0, dtype=np.float64)).ravel()
        squares += np.bincount(block.indices, block.data.astype(np.float64) ** 2, n_genes)
        n_cells += block.shape[0]
    variance = squares - total**2 / n_cells
    chosen = np.sort(np.argsort(-variance, kind="stable")[:most_genes])
    products = np.zeros((len(chosen), len(chosen)))
    for block in blocks():
        part = block[:, chosen].toarray().astype(np.float64)
        products += part.T @ part
    mean = total[chosen] / n_cells
    products -= n_cells * np.outer(mean, mean)
    _, vectors = np.linalg.eigh(products)
    loadings = vectors[:, ::-1][:, : max(2, min(n_components, n_cells - 1))]
    largest = np.abs(loadings).argmax(axis=0)
    loadings = loadings * np.sign(loadings[largest, np.arange(len(largest))])
    shift = mean @ loadings
    scores = [block[:, chosen] @ loadings - shift for block in blocks()]
    found = np.concatenate(scores).astype(np.float32)
    return np.pad(found, ((0, 0), (0, max(0, 2 - found.shape[1]))))
