import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from epifoundation.config import ClusterConfig
from epifoundation.data.clusters import cluster_cells
from epifoundation.multiome import multiome, read_multiome, write_multiome

CONFIG = ClusterConfig(
    n_variable_genes=50,
    n_pcs=4,
    n_lsi=4,
    n_neighbors=15,
    neighbor_range=100,
    small_samples=False,
    resolution=0.3,
    seed=0,
)


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
