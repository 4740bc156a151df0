"""What Signac 1.8.0 and Seurat 4.3.0 print on simulated cells and on Signac's `atac_small`.

Recorded, but without a counterpart here, so that nothing is compared:
- `avgexpr_peaks_mean_expm1`: means of TF-IDF over clusters; only expression is averaged here.
- `exact_vs_irlba_*`, but for the exact singular values: how far R is from itself.
- `findclusters_log`, `timing`, `session`, `failures`: R's own account.
What is counted from fragments is compared in test_signac_counts.py.
"""

from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.io import mmread
from sklearn.metrics import adjusted_rand_score

from epifoundation.cli.arguments import paper_section
from epifoundation.config import ClusterConfig
from epifoundation.data.clusters import (
    atac_components,
    cluster_cells,
    cluster_rna,
    rna_components,
)
from epifoundation.data.expression import (
    log_normalize,
    pca,
    scale_genes,
    variable_genes,
    variance_table,
)
from epifoundation.data.labels import cluster_means
from epifoundation.data.latent import lsi, percentiles, tf_idf, top_features
from epifoundation.data.louvain import louvain
from epifoundation.data.neighbors import nearest_graph, nearest_lists, weighted_neighbors
from epifoundation.multiome import multiome


@dataclass(frozen=True)
class Recording:
    """Inputs, outputs and settings of one recording."""

    inputs: Path
    expected: Path
    config: ClusterConfig
    # irlba stops at 1e-5 before its last components are exact, as `exact_vs_irlba_pca` records:
    # in PC 46-50 of `sim` and PC 18-20 of `signac` R itself is up to 4e-3 from the exact ones.
    converged_pcs: int

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.expected / f"{name}.tsv.gz", sep="\t", index_col=0)

    def matrix(self, name: str) -> sparse.csr_matrix:
        """Cells × features, as here; the files are features × cells."""
        return sparse.csr_matrix(mmread(self.expected / f"{name}.mtx.gz").T)

    def names(self, name: str) -> list[str]:
        return (self.expected / f"{name}.txt").read_text().split()

    def embeddings(self) -> tuple[np.ndarray, np.ndarray]:
        lsi_of_all = self.table("lsi_embeddings").to_numpy()
        return self.table("pca_embeddings").to_numpy(), lsi_of_all[:, 1:]


# variable genes, components, candidates per modality, converged components
SETTINGS = {"sim": (2000, 50, 200, 45), "signac": (200, 20, 50, 17)}


@pytest.fixture(scope="module", params=list(SETTINGS))
def r(request, shared) -> Recording:
    n_genes, n_components, neighbor_range, converged = SETTINGS[request.param]
    config = paper_section(
        ClusterConfig,
        "cluster",
        n_variable_genes=n_genes,
        n_pcs=n_components,
        n_lsi=n_components,
        peak_percentile=0,  # the recording's `q0`
        neighbor_range=neighbor_range,
    )
    golden = shared / "golden"
    return Recording(
        golden / request.param, golden / f"{request.param}_expected", config, converged
    )


@pytest.fixture(scope="module")
def peak_counts(r):
    if r.inputs.name == "signac":  # of `atac_small`; its fragments are of other cells
        names = (r.inputs / "assay_peaks_features.txt").read_text().split()
        assert names == r.names("tfidf_features")
        return sparse.csr_matrix(mmread(r.inputs / "assay_peaks.mtx.gz").T)
    return r.matrix("featurematrix")


@pytest.fixture(scope="module")
def rna_counts(r):
    if r.inputs.name == "signac":
        return sparse.csr_matrix(mmread(r.inputs / "assay_RNA.mtx.gz").T)
    folder = r.inputs / "rna"
    cells = (folder / "barcodes.tsv").read_text().split()
    counts = sparse.csr_matrix(mmread(folder / "matrix.mtx.gz").T)
    return counts[pd.Index(cells).get_indexer(r.names("featurematrix_cells"))]


@pytest.fixture(scope="module")
def genes(r):
    return pd.Index(r.names("rna_features_in_object"))


@pytest.fixture(scope="module")
def r_neighbors(r):
    return weighted_neighbors(
        r.embeddings(),
        n_neighbors=r.config.n_neighbors,
        neighbor_range=r.config.neighbor_range,
    )


def aligned(ours, theirs):
    return np.abs(ours * np.sign((ours * theirs).sum(axis=0)) - theirs).max(axis=0)


def test_tf_idf(r, peak_counts):
    assert abs(tf_idf(peak_counts) - r.matrix("tfidf")).max() < 1e-9


@pytest.mark.parametrize("percentile", [0, 0.05])
def test_top_features(r, peak_counts, percentile):
    chosen = np.array(r.names("tfidf_features"))[top_features(peak_counts, percentile=percentile)]
    assert chosen.tolist() == r.names(f"topfeatures_q{round(100 * percentile)}")


def test_counts_and_percentiles_of_top_features(r, peak_counts):
    recorded = r.table("topfeatures_info")
    order = top_features(peak_counts, percentile=0)
    totals = np.asarray(peak_counts.sum(axis=0)).ravel()[order]
    features = np.array(r.names("tfidf_features"))[order]
    assert features.tolist() == recorded.index.tolist()
    assert totals.tolist() == recorded["count"].tolist()
    assert np.abs(percentiles(peak_counts)[order] - recorded["percentile"]).max() < 1e-12
    assert features[totals > 10].tolist() == r.names("topfeatures_gt10")


def test_lsi(r, peak_counts):
    expected = r.table("lsi_embeddings").to_numpy()
    assert aligned(atac_components(peak_counts, r.config), expected).max() < 1e-6
    embedding, singular = lsi(tf_idf(peak_counts), r.config.n_lsi, seed=0)
    np.testing.assert_allclose(singular, r.table("lsi_singular_values")["d"], rtol=1e-9)
    np.testing.assert_allclose(singular, r.table("exact_vs_irlba_lsi")["d_exact"], rtol=1e-12)
    depth = np.asarray(peak_counts.sum(axis=1)).ravel()
    correlation = [np.corrcoef(component, depth)[0, 1] for component in embedding.T]
    recorded = r.table("lsi_depth_correlation")["pearson_with_nCount"].to_numpy()
    # a sign is free, but that of the correlation goes with that of the component
    np.testing.assert_allclose(np.abs(correlation[: len(recorded)]), np.abs(recorded), atol=1e-6)


def test_lsi_of_the_papers_way_is_of_the_peaks_that_q5_keeps(r, peak_counts):
    """No LSI of `q5` is recorded; its peaks are."""
    kept = pd.Index(r.names("tfidf_features")).get_indexer(r.names("topfeatures_q5"))
    expected, _ = lsi(tf_idf(peak_counts)[:, np.sort(kept)], r.config.n_lsi, seed=0)
    paper = r.config.model_copy(update={"peak_percentile": 0.05})
    np.testing.assert_array_equal(atac_components(peak_counts, paper), expected)


def test_log_normalize(r, rna_counts):
    assert abs(log_normalize(rna_counts) - r.matrix("rna_lognorm")).max() < 1e-9


def test_variable_genes(r, rna_counts, genes):
    expected = r.table("hvf_info")
    ours = variance_table(rna_counts)
    for here, there in (
        ("mean", "mean"),
        ("variance", "variance"),
        ("variance_expected", "variance.expected"),
        ("variance_standardized", "variance.standardized"),
    ):
        np.testing.assert_allclose(ours[here], expected[there], rtol=1e-9, atol=1e-12)
    chosen = variable_genes(rna_counts, r.config.n_variable_genes)
    recorded = r.names("hvf_order")
    assert set(genes[chosen]) == set(recorded) == set(expected.index[expected["variable"]])
    # in the same order, up to ties
    by_gene = expected["variance.standardized"]
    np.testing.assert_allclose(by_gene[genes[chosen]], by_gene[recorded], rtol=1e-12)


def test_scaled_values(r, rna_counts, genes):
    chosen = variable_genes(rna_counts, r.config.n_variable_genes)
    normal = log_normalize(rna_counts)[:, chosen]
    scaled = pd.DataFrame(scale_genes(normal), columns=genes[chosen])
    recorded = r.table("scaledata_first150")
    assert np.abs(scaled[recorded.index].T.to_numpy() - recorded.to_numpy()).max() < 1e-9
    statistics = r.table("scaledata_gene_stats")
    before = pd.DataFrame(normal.toarray(), columns=genes[chosen])[statistics.index]
    after = scaled[statistics.index]
    for ours, theirs in (
        (before.mean(), "mean"),
        (before.std(), "sd"),
        ((after == 10).sum(), "n_clipped_at_10"),
        (after.min(), "scaled_min"),
        (after.max(), "scaled_max"),
    ):
        np.testing.assert_allclose(ours, statistics[theirs], rtol=0, atol=1e-9)


def test_pca(r, rna_counts):
    chosen = variable_genes(rna_counts, r.config.n_variable_genes)
    embedding, deviation = pca(
        scale_genes(log_normalize(rna_counts)[:, chosen]), r.config.n_pcs, seed=0
    )
    np.testing.assert_array_equal(rna_components(rna_counts, r.config), embedding)
    apart = aligned(embedding, r.table("pca_embeddings").to_numpy())
    assert apart[: r.converged_pcs].max() < 1e-5
    assert apart[r.converged_pcs :].max() < 1e-2
    np.testing.assert_allclose(deviation, r.table("pca_stdev")["stdev"], rtol=1e-6)
    exact = r.table("exact_vs_irlba_pca")
    np.testing.assert_allclose(deviation, exact["stdev_exact"], rtol=1e-12)
    of_r = exact["max_abs_diff"].to_numpy()  # the exception is R's, and no wider than R's
    assert (of_r[: r.converged_pcs] < 1e-5).all()
    np.testing.assert_allclose(apart[r.converged_pcs :], of_r[r.converged_pcs :], rtol=0.1)


@pytest.mark.parametrize(("name", "which"), [("pca", 0), ("lsi", 1)])
def test_approximate_neighbours(r, name, which):
    rows = r.embeddings()[which]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    [(lists, distances)] = nearest_lists(rows, 20)
    np.testing.assert_array_equal(lists + 1, r.table(f"nn_{name}_idx1"))
    np.testing.assert_allclose(distances, r.table(f"nn_{name}_dist"), atol=1e-6)


def test_weighted_neighbours(r, r_neighbors):
    weights = r.table("wnn_weights")[["RNA.weight", "peaks.weight"]]
    assert np.abs(r_neighbors.weights - weights.to_numpy()).max() < 1e-6
    np.testing.assert_array_equal(r_neighbors.neighbors + 1, r.table("wnn_neighbors_idx1"))
    # Squared: near zero the root turns single-precision noise of Annoy's distances into 1e-4.
    expected = r.table("wnn_neighbors_dist").to_numpy()
    np.testing.assert_allclose(r_neighbors.distances**2, expected**2, atol=1e-6)
    assert abs(r_neighbors.shared_graph() - r.matrix("wsnn")).max() < 1e-12
    either_way = r.matrix("wknn") > 0
    pairs = sparse.csr_matrix(
        (
            np.ones(r_neighbors.neighbors.size, bool),
            r_neighbors.neighbors.ravel(),
            np.arange(0, r_neighbors.neighbors.size + 1, 20),
        ),
        either_way.shape,
    )
    ours = pairs + pairs.T + sparse.identity(len(r_neighbors.neighbors), dtype=bool)
    assert (ours != either_way).nnz == 0


def test_clusters_of_recorded_graphs(r):
    for graph, clusters in (("wsnn", "clusters"), ("rna_snn", "clusters_rna_only")):
        labels = louvain(r.matrix(graph), resolution=1, seed=0)
        np.testing.assert_array_equal(labels, r.table(clusters).iloc[:, 0])


def test_neighbours_and_weights_from_counts(r, peak_counts, rna_counts):
    """Last digits of the components move some lists of approximate neighbours."""
    own = (rna_components(rna_counts, r.config), atac_components(peak_counts, r.config)[:, 1:])
    found = weighted_neighbors(own, n_neighbors=20, neighbor_range=r.config.neighbor_range)
    weights = r.table("wnn_weights")[["RNA.weight", "peaks.weight"]]
    assert np.abs(found.weights - weights.to_numpy()).max() < 0.1
    same = (found.neighbors + 1 == r.table("wnn_neighbors_idx1").to_numpy()).all(axis=1)
    assert same.mean() >= 0.9


def test_clusters_from_counts(r, peak_counts, rna_counts, genes):
    obs = pd.DataFrame(index=[f"s#{i}" for i in range(rna_counts.shape[0])])
    peaks = r.names("tfidf_features")
    rna, atac = (
        ad.AnnData(counts.astype(np.int32), obs=obs, var=pd.DataFrame(index=names))
        for counts, names in ((rna_counts, genes), (peak_counts, peaks))
    )
    clustered = cluster_cells(multiome(rna, atac, obs), r.config)
    expected = r.table("clusters")["cluster"]
    assert adjusted_rand_score(clustered.obs["cluster"], expected) >= 0.95


def test_clusters_on_rna_alone(r, rna_counts):
    graph = nearest_graph(r.embeddings()[0], n_neighbors=20)
    assert abs(graph - r.matrix("rna_snn")).max() < 1e-12
    cells = [f"s#{i}" for i in range(rna_counts.shape[0])]
    rna = ad.AnnData(rna_counts, obs=pd.DataFrame(index=cells))
    found = cluster_rna(rna, r.config, sample="s", qc=None)
    assert found["barcode"].tolist() == cells
    expected = r.table("clusters_rna_only").iloc[:, 0]
    assert adjusted_rand_score(found["cluster"], expected) >= 0.95


def test_mean_expression_of_clusters(r, rna_counts, genes):
    expected = r.table("avgexpr_rna_mean_expm1")
    clusters = r.table("clusters")["cluster"].astype(str).to_numpy()
    means = cluster_means(rna_counts, clusters, list(expected))
    rows = genes.get_indexer(expected.index)
    np.testing.assert_allclose(np.expm1(means[:, rows].T), expected, rtol=1e-9, atol=1e-9)
