import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.config import LabelConfig
from epifoundation.contracts import CLUSTERS, LABELS
from epifoundation.data.labels import (
    UNASSIGNED,
    cluster_means,
    label_clusters,
    label_samples,
    shared_symbols,
)
from epifoundation.errors import ContractError, DataError
from epifoundation.multiome import multiome, write_multiome

GENES = [f"G{i:02d}" for i in range(30)]


def config(**changes):
    values = {
        "source": "disco_wnn",
        "method": "spearman",
        "profiles": "profiles.tsv",
        "n_genes": 20,
        "min_shared_genes": 10,
        "min_margin": 0,
        "merge_synonyms": False,
    }
    return LabelConfig(**values | changes)


@pytest.fixture
def profiles():
    rng = np.random.default_rng(0)
    columns = ["B cell--blood", "A cell--blood", "A cell--kidney"]
    return pd.DataFrame(rng.gamma(1, 2, (30, 3)), index=GENES, columns=columns)


@pytest.fixture
def clustered(profiles):
    """Clusters 0 and 1 follow the blood profiles of A and B."""
    rng = np.random.default_rng(1)
    clusters = np.array(["0", "1"] * 20)
    rates = np.where(clusters[:, None] == "0", profiles["A cell--blood"], profiles["B cell--blood"])
    cells = [f"s#{i}" for i in range(40)]
    obs = pd.DataFrame(index=cells)
    rna = ad.AnnData(
        sparse.csr_matrix(rng.poisson(4 * rates)), obs=obs, var=pd.DataFrame(index=GENES)
    )
    peak = pd.DataFrame({"chrom": ["chr1"], "start": [0], "end": [5]}, index=["p"])
    atac = ad.AnnData(sparse.csr_matrix(np.ones((40, 1), np.int32)), obs=obs, var=peak)
    return multiome(rna, atac, pd.DataFrame({"cluster": clusters}, index=cells))


def test_clusters_get_the_type_they_follow(clustered, profiles):
    table = label_clusters(clustered, profiles, "blood", config())
    LABELS.check(table, "labels")
    assert table["barcode"].tolist() == clustered.obs_names.tolist()
    assert table["cell_type"].tolist() == ["A cell", "B cell"] * 20
    assert table["runner_up"].tolist() == ["B cell", "A cell"] * 20
    assert (table["score"] > 0.8).all()
    assert (table["margin"] > 0.5).all()


def test_close_call_stays_unassigned(clustered, profiles):
    table = label_clusters(clustered, profiles, "blood", config(min_margin=1.9))
    assert set(table["cell_type"]) == {UNASSIGNED}
    assert set(table["runner_up"]) == {"A cell", "B cell"}


def test_atlas_with_one_type_has_no_margin(clustered, profiles, caplog):
    caplog.set_level("INFO")
    table = label_clusters(clustered, profiles, "kidney", config(min_margin=0.5))
    assert set(table["cell_type"]) == {"A cell"}
    assert table["margin"].isna().all()

    assert "the only profile is A cell: every cluster gets this type" in caplog.text
    assert ", no other" in caplog.text


def test_both_methods_agree_where_the_atlas_has_few_types(clustered, profiles):
    one = label_clusters(clustered, profiles, "blood", config(n_genes=30))
    two = label_clusters(clustered, profiles, "blood", config(n_genes=30, method="cellid"))
    pd.testing.assert_frame_equal(one, two)


def test_clusters_on_rna_alone_take_the_place_of_the_cells_own(clustered, profiles):
    elsewhere = ["s#unknown", *reversed(clustered.obs_names)]
    clusters = pd.DataFrame({"barcode": elsewhere, "cluster": ["7"] + ["x", "y"] * 20})
    table = label_clusters(clustered, profiles, "blood", config(), clusters=clusters)
    assert table["cluster"].tolist() == ["y", "x"] * 20
    assert table["cell_type"].tolist() == ["A cell", "B cell"] * 20
    with pytest.raises(DataError, match=r"3 of 40 cells are in none of the 2 clusters .*s#0; "):
        label_clusters(clustered, profiles, "blood", config(), clusters=clusters[1:-3])
    del clustered.obs["cluster"]
    with pytest.raises(DataError, match="these cells have no clusters"):
        label_clusters(clustered, profiles, "blood", config())


def test_files_of_samples_need_no_clusters_of_their_own_where_those_of_rna_are_given(
    clustered, profiles, tmp_path
):
    clusters = pd.DataFrame({"barcode": clustered.obs_names, "cluster": ["x", "y"] * 20})
    CLUSTERS.write(clusters, tmp_path / "rna.tsv")
    write_multiome(clustered, tmp_path / "clustered.h5mu")
    files = [tmp_path / "clustered.h5mu"] * 2
    table = label_samples(files, [], profiles, ["blood", "kidney"], config())
    assert table["cell_type"].tolist() == ["A cell", "B cell"] * 20 + ["A cell"] * 40
    del clustered.obs["cluster"]
    write_multiome(clustered, tmp_path / "cells.h5mu")
    table = label_samples(
        [tmp_path / "cells.h5mu"], [tmp_path / "rna.tsv"], profiles, ["blood"], config()
    )
    assert table["cluster"].tolist() == ["x", "y"] * 20
    with pytest.raises(ContractError, match="obs lacks cluster"):
        label_samples([tmp_path / "cells.h5mu"], [], profiles, ["blood"], config())


def test_the_only_atlas_of_the_profiles_decides_what_a_name_means(clustered, profiles):
    named = profiles.set_axis(["Delta cell", "B cell", "C cell"], axis=1).add_suffix("--stomach")
    for atlas in (None, "stomach"):
        table = label_clusters(clustered, named, atlas, config(merge_synonyms=True))
        delta = table[table["cell_type"] == "type D cell of stomach"]
        assert set(delta["cell_ontology_id"]) == {"CL:0002267"}


def test_few_shared_genes_are_warned_of_as_cellid_does(profiles, caplog):
    many = pd.DataFrame(index=[f"G{i}" for i in range(5001)], columns=["A"], data=0.0)
    shared_symbols(many, many.index, config())
    assert not caplog.records
    shared_symbols(many, many.index[1:], config())
    (warning,) = caplog.records
    assert warning.levelname == "WARNING"
    assert "only 5000 of the 5000 genes of the sample" in warning.getMessage()


def test_types_that_tie_go_by_name_and_are_warned_of(clustered, profiles, caplog):
    twins = profiles.assign(**{"0 cell--blood": profiles["A cell--blood"]})
    table = label_clusters(clustered, twins, "blood", config())
    assert set(table["cell_type"]) == {"0 cell", "B cell"}
    assert "cluster 0 of 20 cells: 0 cell" in caplog.text
    table = label_clusters(clustered, twins, "blood", config(min_margin=1e-6))
    assert set(table["cell_type"]) == {UNASSIGNED, "B cell"}
    assert "1 clusters, 20 cells, are unassigned" in caplog.text


@pytest.mark.parametrize("method", ["spearman", "cellid"])
def test_what_follows_no_profile_is_unassigned(clustered, profiles, method):
    flat = profiles * 0 + 1
    table = label_clusters(clustered, flat, "blood", config(method=method))
    LABELS.check(table, "labels")
    assert set(table["cell_type"]) == {UNASSIGNED}
    assert table[["score", "margin"]].isna().all(axis=None)


def test_a_cluster_of_one_cell_is_labelled_and_constant_genes_do_no_harm(clustered, profiles):
    clustered.obs["cluster"] = ["alone", *clustered.obs["cluster"][1:]]
    counts = clustered["rna"].X.toarray()
    counts[:, :3] = 0
    clustered["rna"].X = sparse.csr_matrix(counts)
    table = label_clusters(clustered, profiles, "blood", config())
    assert table["cell_type"].tolist() == ["A cell", "B cell"] * 20


def test_ontology_ids_follow_the_names_and_merge_synonyms_on_request(clustered, profiles):
    named = profiles.set_axis(["Treg--blood", "GZMB CD8 T cell--blood", "A--kidney"], axis=1)
    table = label_clusters(clustered, named, "blood", config())
    assert table[["cell_type", "cell_ontology_id"]].to_numpy()[:2].tolist() == [
        ["GZMB CD8 T cell", "CL:0000625"],
        ["Treg", "CL:0000815"],
    ]
    merged = label_clusters(clustered, named, "blood", config(merge_synonyms=True))
    assert merged["cell_type"].tolist() == ["GZMB CD8 T cell", "regulatory T cell"] * 20
    assert merged["runner_up"].tolist() == ["regulatory T cell", "GZMB CD8 T cell"] * 20
    assert merged["cell_ontology_id"].tolist() == table["cell_ontology_id"].tolist()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["ENSG00000000003.1", "ENSG00000000005", "G00"], "here Ensembl ids, e.g. ENSG"),
        (["Cd3e", "Cd4", "Gapdh", "G00"], "here mouse symbols, e.g. Cd3e"),
        (["7105", "64102", "G00"], "here Entrez ids"),
        (["ACTB", "GAPDH", "G00"], "here symbols, e.g. ACTB, GAPDH"),
    ],
)
def test_other_gene_names_are_named_on_both_sides(profiles, names, message):
    with pytest.raises(DataError, match=f"only 1 of . genes .*{message}.*; there symbols.*G00"):
        shared_symbols(profiles, pd.Index(names), config())


def test_cluster_mean_is_taken_before_the_logarithm():
    counts = sparse.csr_matrix(np.array([[1, 9], [3, 7], [5, 5]]))
    means = cluster_means(counts, np.array(["x", "x", "y"]), ["y", "x"])
    np.testing.assert_allclose(np.expm1(means), [[5000, 5000], [2000, 8000]])
