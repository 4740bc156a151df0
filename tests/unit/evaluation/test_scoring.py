"""From a method's file to its rows in the metrics, failures included."""

import numpy as np
import pandas as pd
import pytest

from epifoundation.contracts import METRICS
from epifoundation.errors import ContractError
from epifoundation.evaluation.benchmark import (
    annotate_controls,
    integrate,
    predict_expression_baselines,
)
from epifoundation.evaluation.results import read_embedding, write_embedding
from epifoundation.evaluation.scoring import (
    score_annotation,
    score_expression,
    score_integration,
    subject_of,
)

DATASET = {
    "atlas": "mini",
    "dataset": "Kidney",
    "protocol": "paper",
    "seed": "0",
    "label_source": "disco_wnn",
}


def embeddings(tiny_atlas, folder, methods, liger_python="no-such/python"):
    paths = {method: str(folder / f"{method}.parquet") for method in methods}
    for method, path in paths.items():
        integrate(
            tiny_atlas.store,
            tiny_atlas.split,
            path,
            method=method,
            protocol="paper",
            seed=0,
            liger_python=liger_python,
        )
    return paths


def test_a_method_that_cannot_run_says_why_and_the_rest_is_scored(tiny_atlas, tmp_path):
    paths = embeddings(tiny_atlas, tmp_path, ["random", "liger"])
    subject = subject_of(DATASET, "integration")
    table = score_integration(tiny_atlas.store, tiny_atlas.split, paths, subject)
    METRICS.check(table, "integration.tsv")
    failed = table[table["method"] == "liger"]
    assert failed["value"].isna().all()
    assert failed["note"].str.contains("environment missing").all()
    scored = table[table["method"] == "random"].set_index("metric")
    assert scored["value"].notna().any()
    assert scored["note"]["clisi"] == "12 cells: LISI is reported from 900 on (10 k0)"
    assert set(failed["metric"]) == set(scored.index) >= {"clisi", "bras"}
    assert set(table["n_cells"]) == {12}


def test_ablations_stand_beside_the_full_model(tiny_atlas, tmp_path):
    cells = tiny_atlas.store.cells["cell"]
    names = ["epifoundation", "epifoundation_no_batch", "epifoundation_no_chromosome"]
    paths = {name: tmp_path / f"{name}.parquet" for name in names}
    rng = np.random.default_rng(0)
    for path in paths.values():
        write_embedding(path, cells, rng.normal(size=(len(cells), 4)))
    subject = subject_of(DATASET, "integration")
    table = score_integration(tiny_atlas.store, tiny_atlas.split, paths, subject)
    METRICS.check(table, "integration.tsv")
    by_task = table.groupby("task")["method"].unique().map(list)
    assert by_task["ablation"] == names
    assert by_task["integration"] == ["epifoundation"]
    assert set(table["labels_seen"]) == {"train"}


def test_controls_are_scored_on_test_cells(tiny_atlas, tmp_path):
    paths = {name: str(tmp_path / f"{name}.parquet") for name in ("majority", "depth_only")}
    annotate_controls(tiny_atlas.store, tiny_atlas.split, paths, seed=0)
    subject = subject_of(DATASET, "annotation")
    table = score_annotation(tiny_atlas.store, tiny_atlas.split, paths, subject).metrics
    METRICS.check(table, "annotation.tsv")
    values = table.pivot(index="method", columns="metric", values="value")
    assert values.loc["majority", "roc_auc"] == 0.5
    assert (values["accuracy"] == values["micro_f1"]).all()


def test_gene_activity_without_fragments(tiny_atlas, tmp_path):
    paths = {name: str(tmp_path / f"{name}.h5ad") for name in ("gene_activity", "gene_mean")}
    arguments = (tiny_atlas.store, tiny_atlas.vocabulary, tiny_atlas.split, paths)
    predict_expression_baselines(*arguments, fragments={}, annotation=None, n_bins=10, seed=0)
    subject = subject_of(DATASET, "expression")
    table = score_expression(*arguments, subject, n_bins=10).metrics
    METRICS.check(table, "expression.tsv")
    failed = table[table["method"] == "gene_activity"]
    assert failed["value"].isna().all()
    assert failed["note"].str.startswith("no fragments").all()
    mean = table[table["method"] == "gene_mean"].set_index("metric")["value"]
    assert mean["mse"] > 0
    assert mean["pearson"] == 0


def test_labels_of_test_cells_are_said_only_where_they_are_seen(tiny_atlas, tmp_path):
    cells = tiny_atlas.store.cells["cell"]
    path = tmp_path / "scanvi.parquet"
    write_embedding(path, cells, np.random.default_rng(0).normal(size=(len(cells), 4)))
    seen = {}
    for protocol in ("paper", "donor-held-out"):
        subject = subject_of({**DATASET, "protocol": protocol}, "integration")
        table = score_integration(tiny_atlas.store, tiny_atlas.split, {"scanvi": path}, subject)
        seen[protocol] = set(table["labels_seen"])
    assert seen == {"paper": {"test"}, "donor-held-out": {"train"}}


def test_an_embedding_of_other_cells_is_refused(tmp_path):
    write_embedding(tmp_path / "e.parquet", ["a", "b"], np.eye(2))
    np.testing.assert_array_equal(
        read_embedding(tmp_path / "e.parquet", ["b", "a"]), [[0, 1], [1, 0]]
    )
    with pytest.raises(ContractError, match=r"lacks 1 of 2 cells \(first: c\)"):
        read_embedding(tmp_path / "e.parquet", pd.Index(["a", "c"]))
