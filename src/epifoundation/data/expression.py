"""RNA counts to normalised values, variable genes, principal components and expression levels."""

import logging

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from epifoundation.data.latent import truncated_svd
from epifoundation.errors import DataError

logger = logging.getLogger(__name__)

NORMAL_DEPTH = 1e4  # Seurat NormalizeData, scale.factor
LOESS_SPAN = 0.3  # Seurat FindVariableFeatures, loess.span
FEWEST_MEANS = 10  # so that a quadratic has something to follow
LARGEST_SCALED = 10.0  # Seurat ScaleData, scale.max


def log_normalize(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return log1p of counts per 10,000 of the cell, cells × genes (Seurat NormalizeData)."""
    normal = sparse.csr_matrix(counts, dtype=np.float64, copy=True)
    totals = np.asarray(normal.sum(axis=1)).ravel()
    normal.data /= np.repeat(np.where(totals > 0, totals, 1), np.diff(normal.indptr))
    normal.data = np.log1p(normal.data * NORMAL_DEPTH)
    return normal


def variance_table(counts: sparse.csr_matrix) -> pd.DataFrame:
    """Return mean, variance, variance_expected and variance_standardized of each gene.

    Seurat's `vst`: the expected variance is a loess fit over log10 mean and variance; standardised
    values are clipped above at the square root of the number of cells, and not re-centred.
    """
    by_gene = sparse.csc_matrix(counts, dtype=np.float64)
    n_cells, n_genes = by_gene.shape
    stored = np.diff(by_gene.indptr)
    gene_of = np.repeat(np.arange(n_genes), stored)
    mean = np.bincount(gene_of, by_gene.data, n_genes) / n_cells
    squares = np.bincount(gene_of, (by_gene.data - mean[gene_of]) ** 2, n_genes)
    variance = (squares + (n_cells - stored) * mean**2) / (n_cells - 1)
    varies = variance > 0
    expected = np.zeros(n_genes)
    expected[varies] = 10 ** _trend(np.log10(mean[varies]), np.log10(variance[varies]))
    # Nonzero entries in the order of cells, zeros last: the order decides exact ties.
    scale = np.sqrt(np.where(varies, expected, 1))
    scaled = np.minimum((by_gene.data - mean[gene_of]) / scale[gene_of], np.sqrt(n_cells))
    squares = np.bincount(gene_of, scaled**2, n_genes) + (n_cells - stored) * (mean / scale) ** 2
    standardized = np.where(varies, squares / (n_cells - 1), 0)
    return pd.DataFrame(
        {
            "mean": mean,
            "variance": variance,
            "variance_expected": expected,
            "variance_standardized": standardized,
        }
    )


def _trend(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the loess fit of `y` at `x` (R's loess), nearly singular neighbourhoods included.

    Where many of few cells' genes share one mean, R warns and goes on; so does this.
    """
    from skmisc.loess import loess  # here, since only clustering needs it

    if len(np.unique(x)) < FEWEST_MEANS:
        message = (
            f"{len(x)} genes vary, with {len(np.unique(x))} different means: too few to fit their"
            " variance (Seurat's vst). Set cluster.n_variable_genes: null to use all genes."
        )
        raise DataError(message)
    fit = loess(x, y, span=LOESS_SPAN, degree=2)
    try:
        fit.fit()
    except ValueError as error:  # raised after fitting, for what R warns of
        said = error.args[0]
        said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        logger.warning("loess over %d genes: %s", len(x), said)
    fitted = np.asarray(fit.outputs.fitted_values, dtype=np.float64)
    if len(fitted) != len(x) or not np.isfinite(fitted).all():
        message = (
            f"the variance of {len(x)} genes cannot be fitted over their means (Seurat's vst). Set"
            " cluster.n_variable_genes: null to use all genes."
        )
        raise DataError(message)
    return fitted


def variable_genes(counts: sparse.csr_matrix, n: int | None) -> NDArray[np.int64]:
    """Return the `n` genes of largest standardised variance, descending; None keeps all.

    Genes without a count are never among them. Where fewer than `n` are left, all are returned,
    in their order.
    """
    expressed = np.flatnonzero(np.asarray(counts.sum(axis=0)).ravel() > 0)
    if n is None or n >= len(expressed):
        logger.info("all %d expressed genes are used as variable genes", len(expressed))
        return expressed
    standardized = variance_table(counts)["variance_standardized"].to_numpy()[expressed]
    return expressed[np.argsort(-standardized, kind="stable")[:n]]


def scale_genes(normal: sparse.csr_matrix) -> NDArray[np.float64]:
    """Return dense z-scores of each gene over cells, at most 10, 0 for constant genes."""
    dense = np.asarray(normal.todense(), dtype=np.float64)
    deviation = dense.std(axis=0, ddof=1)
    scaled = (dense - dense.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return np.asarray(np.minimum(scaled, LARGEST_SCALED))


def pca(
    scaled: NDArray[np.float64], n_components: int, *, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return principal components, cells × components, and their standard deviations.

    As Seurat's RunPCA: of the scaled values as they are, which clipping left slightly off-centre.
    """
    if len(scaled) < 3:
        message = f"{len(scaled)} cells are too few for principal components"
        raise DataError(message)
    u, d, _ = truncated_svd(scaled, n_components, seed=seed)
    return u * d, d / np.sqrt(len(scaled) - 1)


def bin_expression(counts: sparse.csr_matrix, n_bins: int) -> sparse.csr_matrix:
    """Return expression levels, uint8: 0 for no count, else 1 to `n_bins` - 1 within the cell.

    The levels of a cell are cut at `n_bins` - 1 quantiles of its own non-zero counts, from their
    minimum to their maximum, so that the last level holds its largest count only (authors' code).
    The paper's binning ("normalize and categorize", 3.4) is the same one: within a cell, neither
    scaling nor a logarithm moves a count across a quantile of its own.
    """
    levels = sparse.csr_matrix(counts, copy=True)
    levels.eliminate_zeros()
    levels.sort_indices()
    quantiles = np.linspace(0, 1, n_bins - 1)
    binned = np.empty(levels.nnz, np.uint8)
    for start, end in zip(levels.indptr[:-1], levels.indptr[1:], strict=True):
        if start < end:
            values = levels.data[start:end].astype(np.float64)
            binned[start:end] = np.digitize(values, np.quantile(values, quantiles))
    return sparse.csr_matrix((binned, levels.indices, levels.indptr), shape=levels.shape)
