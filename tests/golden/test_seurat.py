"""Against what Signac 1.8.0 and Seurat 4.3.0 print on simulated cells."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.io import mmread
from sklearn.metrics import adjusted_rand_score

from epifoundation.config import ClusterConfig
from epifoundation.data.clusters import cluster_rna
from epifoundation.data.expression import (
    log_normalize,
    pca,
    scale_genes,
    variable_genes,
    variance_table,
)
from epifoundation.data.labels import cluster_means
from epifoundation.data.latent import lsi, tf_idf, top_features
from epifoundation.data.louvain import louvain
from epifoundation.data.neighbors import nearest_graph, nearest_lists, weighted_neighbors

GOLDEN = Path(__file__).parents[2] / "../shared/golden"
EXPECTED = GOLDEN / "sim_expected"

pytestmark = pytest.mark.skipif(
    not EXPECTED.exists(), reason=f"recorded outputs of Seurat and Signac are not at {EXPECTED}"
)


def table(name):
    return pd.read_csv(EXPECTED / f"{name}.tsv.gz", sep="\t", index_col=0)


def matrix(name):
    """Cells × features, as here; the files are features × cells."""
    return sparse.csr_matrix(mmread(EXPECTED / f"{name}.mtx.gz").T)


def names(name):
    return (EXPECTED / f"{name}.txt").read_text().split()


def aligned(ours, theirs):
    return np.abs(ours * np.sign((ours * theirs).sum(axis=0)) - theirs).max(axis=0)


@pytest.fixture(scope="module")
def peak_counts():
    return matrix("featurematrix")


@pytest.fixture(scope="module")
def rna_counts():
    folder = GOLDEN / "sim" / "rna"
    cells = (folder / "barcodes.tsv").read_text().split()
    counts = sparse.csr_matrix(mmread(folder / "matrix.mtx.gz").T)
    return counts[pd.Index(cells).get_indexer(names("featurematrix_cells"))]


@pytest.fixture(scope="module")
def r_embeddings():
    return table("pca_embeddings").to_numpy(), table("lsi_embeddings").to_numpy()[:, 1:]


@pytest.fixture(scope="module")
def r_neighbors(r_embeddings):
    return weighted_neighbors(r_embeddings, n_neighbors=20, neighbor_range=200)


def test_tf_idf(peak_counts):
    assert abs(tf_idf(peak_counts) - matrix("tfidf")).max() < 1e-9


@pytest.mark.parametrize("percentile", [0, 0.05])
def test_top_features(peak_counts, percentile):
    chosen = np.array(names("tfidf_features"))[top_features(peak_counts, percentile=percentile)]
    assert chosen.tolist() == names(f"topfeatures_q{round(100 * percentile)}")


def test_lsi(peak_counts):
    embedding, singular = lsi(tf_idf(peak_counts), 50, seed=0)
    assert aligned(embedding, table("lsi_embeddings").to_numpy()).max() < 1e-6
    np.testing.assert_allclose(singular, table("lsi_singular_values")["d"], rtol=1e-9)


def test_log_normalize(rna_counts):
    assert abs(log_normalize(rna_counts) - matrix("rna_lognorm")).max() < 1e-9


def test_variable_genes(rna_counts):
    expected = table("hvf_info")
    ours = variance_table(rna_counts)
    for here, there in (
        ("mean", "mean"),
        ("variance", "variance"),
        ("variance_expected", "variance.expected"),
        ("variance_standardized", "variance.standardized"),
    ):
        np.testing.assert_allclose(ours[here], expected[there], rtol=1e-9, atol=1e-12)
    genes = np.array(names("rna_features_in_object"))
    assert set(genes[variable_genes(rna_counts, 2000)]) == set(names("hvf_order"))


def test_scaled_values_and_pca(rna_counts):
    genes = pd.Index(names("rna_features_in_object"))
    chosen = variable_genes(rna_counts, 2000)
    scaled = scale_genes(log_normalize(rna_counts)[:, chosen])
    recorded = table("scaledata_first150")
    rows = pd.Index(genes[chosen]).get_indexer(recorded.index)
    assert np.abs(scaled[:, rows].T - recorded.to_numpy()).max() < 1e-9
    embedding, deviation = pca(scaled, 50, seed=0)
    apart = aligned(embedding, table("pca_embeddings").to_numpy())
    assert apart[:45].max() < 1e-5
    assert apart[45:].max() < 1e-2
    np.testing.assert_allclose(deviation, table("pca_stdev")["stdev"], rtol=1e-6)


@pytest.mark.parametrize(("name", "which"), [("pca", 0), ("lsi", 1)])
def test_approximate_neighbours(r_embeddings, name, which):
    rows = r_embeddings[which] / np.linalg.norm(r_embeddings[which], axis=1, keepdims=True)
    [(lists, distances)] = nearest_lists(rows, 20)
    np.testing.assert_array_equal(lists + 1, table(f"nn_{name}_idx1"))
    np.testing.assert_allclose(distances, table(f"nn_{name}_dist"), atol=1e-6)


def test_weighted_neighbours(r_neighbors):
    weights = table("wnn_weights")[["RNA.weight", "peaks.weight"]]
    assert np.abs(r_neighbors.weights - weights.to_numpy()).max() < 1e-6
    np.testing.assert_array_equal(r_neighbors.neighbors + 1, table("wnn_neighbors_idx1"))
    # Squared: near zero the root turns single-precision noise of Annoy's distances into 1e-4.
    expected = table("wnn_neighbors_dist").to_numpy()
    np.testing.assert_allclose(r_neighbors.distances**2, expected**2, atol=1e-6)
    assert abs(r_neighbors.nearest_graph() - matrix("wknn")).max() == 0
    assert abs(r_neighbors.shared_graph() - matrix("wsnn")).max() < 1e-12


def test_clusters_of_recorded_graphs():
    for graph, clusters in (("wsnn", "clusters"), ("rna_snn", "clusters_rna_only")):
        labels = louvain(matrix(graph), resolution=1, seed=0)
        np.testing.assert_array_equal(labels, table(clusters).iloc[:, 0])


def test_clusters_from_counts(peak_counts, rna_counts):
    chosen = variable_genes(rna_counts, 2000)
    components, _ = pca(scale_genes(log_normalize(rna_counts)[:, chosen]), 50, seed=0)
    topics, _ = lsi(tf_idf(peak_counts), 50, seed=0)
    found = weighted_neighbors((components, topics[:, 1:]), n_neighbors=20, neighbor_range=200)
    labels = louvain(found.shared_graph(), resolution=1, seed=0)
    assert adjusted_rand_score(labels, table("clusters")["cluster"]) >= 0.95


def test_clusters_on_rna_alone(rna_counts, r_embeddings):
    graph = nearest_graph(r_embeddings[0], n_neighbors=20)
    assert abs(graph - matrix("rna_snn")).max() < 1e-12
    cells = [f"s#{i}" for i in range(rna_counts.shape[0])]
    rna = ad.AnnData(rna_counts, obs=pd.DataFrame(index=cells))
    config = ClusterConfig(
        n_variable_genes=2000,
        n_pcs=50,
        n_lsi=50,
        peak_percentile=0.05,
        n_neighbors=20,
        neighbor_range=200,
        small_samples=False,
        resolution=1,
        seed=0,
    )
    found = cluster_rna(rna, config, sample="s", qc=None)
    assert found["barcode"].tolist() == cells
    expected = table("clusters_rna_only").iloc[:, 0]
    assert adjusted_rand_score(found["cluster"], expected) >= 0.95


def test_mean_expression_of_clusters(rna_counts):
    expected = table("avgexpr_rna_mean_expm1")
    clusters = table("clusters")["cluster"].astype(str).to_numpy()
    order = list(expected)
    means = cluster_means(rna_counts, clusters, order)
    genes = pd.Index(names("rna_features_in_object")).get_indexer(expected.index)
    np.testing.assert_allclose(np.expm1(means[:, genes].T), expected, rtol=1e-9, atol=1e-9)
