import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from epifoundation.cli.arguments import paper_section
from epifoundation.config import ClusterConfig, QcConfig
from epifoundation.contracts import CLUSTERS
from epifoundation.data.clusters import cluster_cells, cluster_rna
from epifoundation.errors import DataError
from epifoundation.multiome import multiome, read_multiome, write_multiome

SMALL = {"n_variable_genes": 50, "n_pcs": 4, "n_lsi": 4, "n_neighbors": 15, "neighbor_range": 100}
CONFIG = paper_section(ClusterConfig, "cluster", **SMALL, resolution=0.3)


@pytest.fixture(scope="module")
def cells():
    """Three planted types, apart in both modalities."""
    rng = np.random.default_rng(0)
    kind = np.sort(rng.integers(0, 3, 150))
    programmes = rng.gamma(0.5, 2, (3, 120))
    openness = rng.gamma(0.3, 3, (3, 400))
    rna = rng.poisson(programmes[kind])
    atac = rng.poisson(openness[kind])
    names = [f"s#{i}" for i in range(150)]
    obs = pd.DataFrame(index=names)
    genes = pd.DataFrame(index=[f"G{i}" for i in range(120)])
    starts = np.arange(400) * 10
    peaks = pd.DataFrame(
        {"chrom": "chr1", "start": starts, "end": starts + 5}, index=[f"p{i}" for i in range(400)]
    )
    return multiome(
        ad.AnnData(sparse.csr_matrix(rna), obs=obs, var=genes),
        ad.AnnData(sparse.csr_matrix(atac), obs=obs, var=peaks),
        pd.DataFrame({"kind": kind}, index=names),
    )


def test_planted_types_are_found(cells, tmp_path):
    clustered = cluster_cells(cells, CONFIG)
    assert adjusted_rand_score(clustered.obs["kind"], clustered.obs["cluster"]) > 0.95
    write_multiome(clustered, tmp_path / "clustered.h5mu")
    again = read_multiome(tmp_path / "clustered.h5mu", needs_obs=("cluster", "rna_weight"))
    assert again.obsp["wnn_connectivities"].shape == (150, 150)
    assert again["rna"].obsm["X_pca"].shape == (150, 4)
    assert again["atac"].obsm["X_lsi"].shape == (150, 4)
    assert again["rna"].X.dtype.kind == "i"


def test_same_cells_same_clusters_and_input_untouched(cells):
    first, second = cluster_cells(cells, CONFIG), cluster_cells(cells, CONFIG)
    assert first.obs["cluster"].tolist() == second.obs["cluster"].tolist()
    np.testing.assert_array_equal(first["rna"].obsm["X_pca"], second["rna"].obsm["X_pca"])
    assert "cluster" not in cells.obs
    assert not cells["rna"].obsm


def test_rna_alone_finds_the_planted_types_and_names_cells_by_sample(cells):
    rna = cells["rna"].copy()
    rna.obs_names = [name.removeprefix("s#") for name in rna.obs_names]
    found = cluster_rna(rna, CONFIG, sample="s", qc=None)
    CLUSTERS.check(found, "clusters")
    assert found["barcode"].tolist() == cells.obs_names.tolist()
    assert adjusted_rand_score(cells.obs["kind"], found["cluster"]) > 0.95
    assert cluster_rna(cells["rna"], CONFIG, sample="s", qc=None).equals(found)


def test_barcodes_outside_the_rna_limits_join_no_rna_cluster(cells):
    limits = QcConfig(
        min_rna_umis=0,
        max_rna_umis=1000,
        min_atac_reads=10**6,  # says nothing of RNA
        max_atac_reads=10**7,
        atac_reads="in_peaks",
        max_nucleosome_signal=1,
        nucleosome_lines="all",
        tss_enrichment="fast",
        min_tss_enrichment=1,
    )
    rna = cells["rna"].copy()
    counts = rna.X.toarray()
    counts[3], counts[5] = 0, 100
    rna.X = sparse.csr_matrix(counts)
    found = cluster_rna(rna, CONFIG, sample="s", qc=limits)
    assert sorted(set(cells.obs_names) - set(found["barcode"])) == ["s#3", "s#5"]
    assert len(cluster_rna(rna, CONFIG, sample="s", qc=None)) == 150
    rna.X = rna.X * 0
    with pytest.raises(DataError, match=r"sample s: 0 of 150 .* need 15\. .*qc\.min_rna_umis"):
        cluster_rna(rna, CONFIG, sample="s", qc=limits)


def test_few_cells_need_the_option(cells):
    few = cells["rna"][::10].copy()  # too few to tell the types
    config = CONFIG.model_copy(update={"n_neighbors": 20})
    with pytest.raises(DataError, match=r"15 of 15 .* need 20\. .*cluster\.small_samples"):
        cluster_rna(few, config, sample="s", qc=None)
    small = config.model_copy(update={"small_samples": True})
    found = cluster_rna(few, small, sample="s", qc=None)
    assert len(found) == 15
    with pytest.raises(DataError, match=r"3 of 3 barcodes .* need 4"):
        cluster_rna(few[:3].copy(), small, sample="s", qc=None)
