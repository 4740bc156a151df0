import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.config import LabelConfig
from epifoundation.contracts import LABELS
from epifoundation.data.labels import (
    UNASSIGNED,
    cluster_means,
    label_clusters,
    profiles_of,
    read_profiles,
    spearman,
    variable_symbols,
)
from epifoundation.errors import ContractError, DataError
from epifoundation.multiome import multiome

GENES = [f"G{i:02d}" for i in range(30)]


def config(**changes):
    values = {
        "source": "disco_wnn",
        "profiles": "profiles.tsv",
        "n_genes": 20,
        "min_shared_genes": 10,
        "min_margin": 0,
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
    atac = ad.AnnData(sparse.csr_matrix(np.ones((40, 1), np.int32)), obs=obs)
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


def test_atlas_with_one_type_has_no_margin(clustered, profiles):
    table = label_clusters(clustered, profiles, "kidney", config(min_margin=0.5))
    assert set(table["cell_type"]) == {"A cell"}
    assert table["margin"].isna().all()


def test_unknown_atlas_lists_those_there_are(profiles):
    with pytest.raises(DataError, match=r"'liver'.* atlases: blood, kidney"):
        profiles_of(profiles, "liver")
    with pytest.raises(DataError, match=r"no atlas is named.* blood, kidney"):
        profiles_of(profiles, None)


def test_profiles_without_atlas_are_all_used(profiles):
    plain = profiles.set_axis(["b", "a", "c"], axis=1)
    assert profiles_of(plain, "blood").columns.tolist() == ["a", "b", "c"]
    blood = profiles.iloc[:, :2]
    assert profiles_of(blood, None).columns.tolist() == ["A cell", "B cell"]


def test_too_few_shared_genes_shows_both_sides(profiles):
    reference = profiles_of(profiles, "blood")
    names = pd.Index(["ENSG1", "ENSG2", "G00"])
    with pytest.raises(DataError, match=r"only 1 of 3 genes .* 30 .*ENSG1.*G00, G01, G02"):
        variable_symbols(reference, names, config())


def test_most_variable_symbols_come_first_and_ties_go_by_name():
    reference = pd.DataFrame(
        {"a": [0, 0, 0, 0, 5], "b": [1, 9, 1, 1, 5]}, index=["D", "C", "B", "A", "Z"]
    )
    names = pd.Index(["A", "B", "C", "D", "Z"])
    chosen = variable_symbols(reference, names, config(n_genes=10, min_shared_genes=1))
    assert chosen == ["C", "A", "B", "D", "Z"]


def test_cluster_mean_is_taken_before_the_logarithm():
    counts = sparse.csr_matrix(np.array([[1, 9], [3, 7], [5, 5]]))
    means = cluster_means(counts, np.array(["x", "x", "y"]), ["y", "x"])
    np.testing.assert_allclose(np.expm1(means), [[5000, 5000], [2000, 8000]])


def test_spearman_by_hand():
    one = np.array([[1, 2, 3], [5, 5, 5]])
    other = np.array([[10, 20, 30], [3, 1, 0], [1, 1, 2]])
    scores = spearman(one, other)
    np.testing.assert_allclose(scores[0], [1, -1, np.sqrt(0.75)])
    assert (scores[1] == -np.inf).all()


@pytest.mark.parametrize(("name", "separator"), [("p.tsv", "\t"), ("p.csv", ","), ("p", ",")])
def test_profiles_are_read_whatever_separates_them(tmp_path, name, separator):
    lines = [["gene", "T cell--blood", "B, naive--blood"], ["NA", "1", "2"], ["NA", "0", "0.5"]]
    quoted = [[f'"{item}"' for item in line] for line in lines]
    (tmp_path / name).write_text("".join(separator.join(line) + "\n" for line in quoted))
    profiles = read_profiles(tmp_path / name)
    assert profiles.index.tolist() == ["NA", "NA.1"]
    assert profiles.columns.tolist() == ["T cell--blood", "B, naive--blood"]


def test_file_without_profiles_is_an_error(tmp_path):
    (tmp_path / "p.tsv").write_text("gene\ttype\nA\tT cell\n")
    with pytest.raises(ContractError, match=r"1 columns are not numbers \(first: type\)"):
        read_profiles(tmp_path / "p.tsv")
    with pytest.raises(ContractError, match="cannot be read as profiles"):
        read_profiles(tmp_path / "missing.tsv")
