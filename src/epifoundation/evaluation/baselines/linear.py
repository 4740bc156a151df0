"""PCA, Harmony on it, LSI, and a random embedding."""

import numpy as np
from scipy import sparse

from epifoundation.data.latent import lsi, tf_idf
from epifoundation.evaluation.baselines.cells import Floats, IntegrationCells

N_COMPONENTS = 50  # scanpy's default, which scib.integration.harmony uses
N_RANDOM = 50
TARGET_SUM = 1e4


def embed_pca(cells: IntegrationCells, seed: int) -> Floats:
    """Return the first 50 principal components of log-normalised binary peaks (paper B.2.1)."""
    import anndata as ad
    import scanpy as sc

    peaks = cells.accessible
    values = peaks.data.astype(np.float32)  # changed below; which peaks they are of is shared
    data = ad.AnnData(sparse.csr_matrix((values, peaks.indices, peaks.indptr), peaks.shape))
    sc.pp.normalize_total(data, target_sum=TARGET_SUM)
    sc.pp.log1p(data)
    n_components = min(N_COMPONENTS, min(data.shape) - 1)
    sc.pp.pca(data, n_comps=n_components, svd_solver="arpack", random_state=seed)
    return np.asarray(data.obsm["X_pca"], dtype=np.float32)


def embed_harmony(cells: IntegrationCells, seed: int) -> Floats:
    """Return Harmony's correction of `embed_pca`, with harmony-pytorch as scib calls it."""
    from harmony import harmonize

    corrected = harmonize(
        embed_pca(cells, seed),
        cells.batch.astype(str).to_frame("batch"),
        batch_key="batch",
        random_state=seed,
        n_jobs=1,
        verbose=False,
    )
    return np.asarray(corrected, dtype=np.float32)


def embed_lsi(cells: IntegrationCells, seed: int) -> Floats:
    """Return LSI components 2 to 50 of binary peaks (Signac's; the first follows depth)."""
    weighted = tf_idf(cells.accessible)
    components, _ = lsi(weighted, min(N_COMPONENTS, min(weighted.shape) - 1), seed=seed)
    return np.asarray(components[:, 1:], dtype=np.float32)


def embed_randomly(cells: IntegrationCells, seed: int) -> Floats:
    """Return independent standard normal numbers: what a metric gives for nothing."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((cells.accessible.shape[0], N_RANDOM), dtype=np.float32)
