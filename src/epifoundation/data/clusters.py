"""Clusters of a sample's cells over both modalities: PCA, LSI, weighted neighbours, Louvain."""

import logging

import mudata as md
import numpy as np
import pandas as pd

from epifoundation.config import ClusterConfig
from epifoundation.data.expression import log_normalize, pca, scale_genes, variable_genes
from epifoundation.data.latent import lsi, tf_idf, top_features
from epifoundation.data.louvain import louvain
from epifoundation.data.neighbors import weighted_neighbors
from epifoundation.multiome import counts_of

logger = logging.getLogger(__name__)

# Signac FindTopFeatures, default min.cutoff `q5`; the paper (A.0.3) names none.
PEAK_PERCENTILE = 0.05


def cluster_cells(mdata: md.MuData, config: ClusterConfig) -> md.MuData:
    """Return the multiome with clusters and what they came from; the input is left alone.

    Adds global `obs["cluster"]` (`0` the largest), `obs["rna_weight"]`, the graph that was
    clustered as `obsp["wnn_connectivities"]`, `rna.obsm["X_pca"]` and `atac.obsm["X_lsi"]`. The
    first component of the latter follows depth; it is kept there but not used for neighbours.
    """
    clustered = mdata.copy()
    counts = counts_of(clustered["rna"])
    genes = variable_genes(counts, config.n_variable_genes)
    scaled = scale_genes(log_normalize(counts)[:, genes])
    clustered["rna"].obsm["X_pca"], _ = pca(scaled, config.n_pcs, seed=config.seed)
    counts = counts_of(clustered["atac"])
    peaks = top_features(counts, percentile=PEAK_PERCENTILE)
    weighted = tf_idf(counts)[:, np.sort(peaks)]
    clustered["atac"].obsm["X_lsi"], _ = lsi(weighted, config.n_lsi, seed=config.seed)
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
    logger.info(
        "%d cells, %d variable genes, %d peaks: %d clusters of %s cells",
        mdata.n_obs,
        len(genes),
        len(peaks),
        labels.max() + 1,
        ", ".join(map(str, np.bincount(labels))),
    )
    return clustered
