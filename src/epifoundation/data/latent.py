"""Low-dimensional views of the cells: TF-IDF and LSI of peaks, and the SVD both modalities use."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, svds

from epifoundation.errors import DataError

TF_IDF_SCALE = 1e4  # Signac RunTFIDF, scale.factor


def top_features(counts: sparse.csr_matrix, *, percentile: float) -> NDArray[np.int64]:
    """Return the peaks whose total count lies above a percentile of all peaks, most counts first.

    The percentile (0 to 1) of a peak is the share of peaks with at most its count; ties keep
    their order (Signac FindTopFeatures with `q5` for 0.05).
    """
    order = np.argsort(-_sums(counts, axis=0), kind="stable")
    return order[percentiles(counts)[order] > percentile]


def percentiles(counts: sparse.csr_matrix) -> NDArray[np.float64]:
    """Return the share of peaks with at most the total count of each peak, 0 to 1."""
    totals = _sums(counts, axis=0)
    return np.asarray(np.searchsorted(np.sort(totals), totals, side="right") / len(totals))


def tf_idf(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return log1p(tf × idf × 10,000) of cells × peaks, from counts that are not binarised.

    tf is a count's share of its cell, idf the number of cells over the peak's total count (Signac
    RunTFIDF, method 1).
    """
    weighted = sparse.csr_matrix(counts, dtype=np.float64, copy=True)
    weighted.eliminate_zeros()
    totals = _sums(weighted, axis=1)
    idf = weighted.shape[0] / np.maximum(_sums(weighted, axis=0), 1)
    weighted.data /= np.repeat(totals, np.diff(weighted.indptr))
    weighted.data *= idf[weighted.indices] * TF_IDF_SCALE
    np.log1p(weighted.data, out=weighted.data)
    return weighted


def lsi(
    weighted: sparse.csr_matrix, n_components: int, *, seed: int, n_threads: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the LSI embedding of TF-IDF cells × peaks and its singular values.

    The embedding, cells × components, holds the left singular vectors, each centred and scaled to
    a standard deviation of one over cells (Signac RunSVD). The first component follows depth; it
    is kept here, and dropped by whoever looks for neighbours.
    """
    u, d, _ = truncated_svd(weighted, n_components, seed=seed, n_threads=n_threads)
    return (u - u.mean(axis=0)) / u.std(axis=0, ddof=1), d


def truncated_svd(
    matrix: sparse.csr_matrix | NDArray[np.float64],
    n_components: int,
    *,
    seed: int,
    n_threads: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return u, d, v of the largest singular values, descending; at most one less than the rank.

    Signs are fixed: the largest entry of each column of `v` is positive. `n_threads` multiply a
    sparse matrix, which alters no digit.
    """
    n = min(n_components, min(matrix.shape) - 1)
    if n < 1:
        message = f"{matrix.shape[0]} cells × {matrix.shape[1]} features are too few for an SVD"
        raise DataError(message)
    start = np.random.default_rng(seed).standard_normal(min(matrix.shape))
    with _products(matrix, n_threads) as products:
        u, d, vt = svds(products, k=n, v0=start, tol=0)
    order = np.argsort(-d)
    u, d, v = u[:, order], d[order], vt[order].T
    signs = np.sign(v[np.abs(v).argmax(axis=0), np.arange(n)])
    return u * signs, d, v * signs


@contextmanager
def _products(
    matrix: sparse.csr_matrix | NDArray[np.float64], n_threads: int
) -> Iterator[sparse.csr_matrix | NDArray[np.float64] | LinearOperator]:
    """Give products of a sparse matrix with vectors, each thread a share of the rows.

    Each row is summed in the order of one thread, so that all digits stay. The matrix is held a
    second time, transposed, for the products from the left.
    """
    if n_threads == 1 or isinstance(matrix, np.ndarray):
        yield matrix
        return
    ours, transposed = (_row_blocks(rows, n_threads) for rows in (matrix, matrix.T.tocsr()))
    with ThreadPoolExecutor(n_threads) as threads:

        def product(
            blocks: list[sparse.csr_matrix], vector: NDArray[np.float64]
        ) -> NDArray[np.float64]:
            return np.concatenate(list(threads.map(lambda rows: rows @ vector, blocks)))

        yield LinearOperator(
            matrix.shape,
            matvec=partial(product, ours),
            rmatvec=partial(product, transposed),
            matmat=lambda vectors: matrix @ vectors,
            dtype=matrix.dtype,
        )


def _row_blocks(matrix: sparse.csr_matrix, n_blocks: int) -> list[sparse.csr_matrix]:
    """Return views of consecutive rows with about equally many entries each."""
    shares = np.linspace(0, matrix.nnz, n_blocks + 1)[1:-1]
    cuts = [0, *np.searchsorted(matrix.indptr, shares), matrix.shape[0]]
    blocks = []
    for first, last in zip(cuts[:-1], cuts[1:], strict=True):
        start, end = matrix.indptr[first], matrix.indptr[last]
        parts = (
            matrix.data[start:end],
            matrix.indices[start:end],
            matrix.indptr[first : last + 1] - start,
        )
        blocks.append(sparse.csr_matrix(parts, shape=(last - first, matrix.shape[1])))
    return blocks


def _sums(matrix: sparse.spmatrix, *, axis: int) -> NDArray[np.float64]:
    return np.asarray(matrix.sum(axis=axis), dtype=np.float64).ravel()
