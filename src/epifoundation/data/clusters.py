"""Clusters of a sample's cells: over both modalities (WNN), or on RNA alone; by Louvain."""

import logging

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from epifoundation.config import ClusterConfig, QcConfig
from epifoundation.data.cells import check_clusterable
from epifoundation.data.expression import log_normalize, pca, scale_genes, variable_genes
from epifoundation.data.latent import lsi, tf_idf, top_features
from epifoundation.data.louvain import louvain
from epifoundation.data.neighbors import MIN_CELLS, nearest_graph, weighted_neighbors
from epifoundation.errors import DataError
from epifoundation.multiome import counts_of

logger = logging.getLogger(__name__)


def cluster_cells(mdata: md.MuData, config: ClusterConfig, *, n_threads: int = 1) -> md.MuData:
    """Return the multiome with clusters and what they came from; the input is left alone.

    Adds global `obs["cluster"]` (`0` the largest), `obs["rna_weight"]`, the graph that was
    clustered as `obsp["wnn_connectivities"]`, `rna.obsm["X_pca"]` and `atac.obsm["X_lsi"]`. The
    first component of the latter follows depth; it is kept there but not used for neighbours.
    The result does not depend on `n_threads`.
    """
    check_clusterable(mdata, config)
    clustered = mdata.copy()
    clustered["rna"].obsm["X_pca"] = rna_components(counts_of(clustered["rna"]), config)
    clustered["atac"].obsm["X_lsi"] = atac_components(
        counts_of(clustered["atac"]), config, n_threads=n_threads
    )
    found = weighted_neighbors(
        (clustered["rna"].obsm["X_pca"], clustered["atac"].obsm["X_lsi"][:, 1:]),
        n_neighbors=config.n_neighbors,
        neighbor_range=config.neighbor_range,
        small_samples=config.small_samples,
    )
    graph = found.shared_graph()
    labels = louvain(graph, resolution=config.resolution, seed=config.seed)
    clustered.obsp["wnn_connectivities"] = graph
    clustered.obs["rna_weight"] = found.weights[:, 0]
    clustered.obs["cluster"] = pd.Categorical(
        labels.astype(str), categories=[str(i) for i in range(labels.max() + 1)]
    )
    _log_sizes("both modalities", labels)
    return clustered


def cluster_rna(
    rna: ad.AnnData, config: ClusterConfig, *, sample: str, qc: QcConfig | None
) -> pd.DataFrame:
    """Return contracts.CLUSTERS of the cells by their RNA alone, `0` the largest.

    PCA, nearest neighbours and their shared neighbours, Louvain (Seurat FindNeighbors and
    FindClusters). `rna` is cells × genes; of the criteria of `qc` the two on RNA apply, so that
    these clusters need no peak. Barcodes become `<sample>#<barcode>` where they name no sample yet.
    """
    counts = counts_of(rna)
    kept = _passes_rna_criteria(counts, qc)
    n_cells = int(kept.sum())
    fewest = MIN_CELLS if config.small_samples else config.n_neighbors
    if n_cells < fewest:
        message = (
            f"sample {sample}: {n_cells} of {rna.n_obs} barcodes have an RNA count within the"
            f" limits of qc, and clusters on RNA need {fewest}. Relax qc.min_rna_umis or"
            " qc.max_rna_umis, allow cluster.small_samples, or leave the sample out."
        )
        raise DataError(message)
    components = rna_components(counts[kept], config)
    graph = nearest_graph(
        components, n_neighbors=config.n_neighbors, small_samples=config.small_samples
    )
    labels = louvain(graph, resolution=config.resolution, seed=config.seed)
    _log_sizes(f"{sample}: RNA of {n_cells} of {rna.n_obs} barcodes", labels)
    names = [name if "#" in name else f"{sample}#{name}" for name in rna.obs_names[kept]]
    return pd.DataFrame({"barcode": names, "cluster": labels.astype(str)})


def rna_components(counts: sparse.csr_matrix, config: ClusterConfig) -> NDArray[np.float64]:
    """Return principal components of the variable genes, cells × components."""
    genes = variable_genes(counts, config.n_variable_genes)
    logger.info("%d variable genes of %d", len(genes), counts.shape[1])
    return pca(scale_genes(log_normalize(counts)[:, genes]), config.n_pcs, seed=config.seed)[0]


def atac_components(
    counts: sparse.csr_matrix, config: ClusterConfig, *, n_threads: int = 1
) -> NDArray[np.float64]:
    """Return the LSI of the peaks with most counts, cells × components, the first kept."""
    peaks = top_features(counts, percentile=config.peak_percentile)
    logger.info("%d top peaks of %d", len(peaks), counts.shape[1])
    weighted = tf_idf(counts)[:, np.sort(peaks)]
    return lsi(weighted, config.n_lsi, seed=config.seed, n_threads=n_threads)[0]


def _passes_rna_criteria(counts: sparse.csr_matrix, qc: QcConfig | None) -> NDArray[np.bool_]:
    totals = np.asarray(counts.sum(axis=1, dtype=np.int64)).ravel()
    if qc is None:
        return np.ones(len(totals), dtype=bool)
    return np.asarray((totals > qc.min_rna_umis) & (totals < qc.max_rna_umis))


def _log_sizes(of_what: str, labels: NDArray[np.int64]) -> None:
    sizes = np.bincount(labels)
    logger.info("%s: %d clusters of %s cells", of_what, len(sizes), ", ".join(map(str, sizes)))
