"""Methods that train a network, on cells of which the truth is planted, and how methods fail."""

import math
import multiprocessing
import os
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.errors import EvaluationError, MethodError
from epifoundation.evaluation import benchmark
from epifoundation.evaluation.annotation import annotation_metrics, prediction_table
from epifoundation.evaluation.baselines import (
    ANNOTATION,
    EXPRESSION,
    INTEGRATION,
    multivi,
    peakvi,
    scanvi,
)
from epifoundation.evaluation.baselines.affine import fit_lines
from epifoundation.evaluation.baselines.apart import attempt
from epifoundation.evaluation.baselines.cells import (
    AnnotationCells,
    Annotator,
    Embedder,
    ExpressionCells,
    IntegrationCells,
)
from epifoundation.evaluation.benchmark import annotate_controls, integrate
from epifoundation.evaluation.completeness import missing_results, require_all
from epifoundation.evaluation.integration import integration_metrics
from epifoundation.evaluation.results import read_embedding, read_predictions

N_CELLS, N_PEAKS, N_TYPES = 160, 120, 3

# scvi-tools' own, and those of what it builds on
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{category}")
    for category in ("UserWarning", "DeprecationWarning", "FutureWarning")
] + [
    pytest.mark.filterwarnings("ignore:The `srun` command"),
]


@pytest.fixture(scope="module")
def planted():
    """Types with peaks and genes of their own, in two batches."""
    rng = np.random.default_rng(1)
    types = rng.integers(0, N_TYPES, N_CELLS)
    own = types[:, None] == np.arange(N_PEAKS) // 40
    peaks = sparse.csr_matrix(rng.random(own.shape) < np.where(own, 0.6, 0.05), dtype=np.uint8)
    genes = types[:, None] == np.arange(30) % N_TYPES
    counts = sparse.csr_matrix(rng.poisson(np.where(genes, 6, 0.5)))
    split = np.array(["train"] * 90 + ["validation"] * 20 + ["test"] * 50, dtype=object)
    names = np.array([f"type{code}" for code in types], dtype=object)
    batch = np.array([f"b{code}" for code in rng.integers(0, 2, N_CELLS)], dtype=object)
    return peaks, names, batch, counts, split


def test_peakvi_finds_types(planted, monkeypatch):
    monkeypatch.setattr(peakvi, "MAX_EPOCHS", 40)
    monkeypatch.setattr(peakvi, "LEARNING_RATE", 5e-3)
    peaks, names, batch, _, _ = planted
    cells = IntegrationCells(peaks, pd.Series(batch), pd.Series(names))
    embedding = INTEGRATION["peakvi"].run(cells, 0)
    assert integration_metrics(embedding, cells.cell_type, cells.batch)["nmi"].value > 0.7


def test_scanvi_annotates_cells_whose_type_it_never_saw(planted, monkeypatch):
    monkeypatch.setattr(scanvi, "scanvi_epochs", lambda n_cells: (25, 10))
    peaks, names, batch, _, split = planted
    secret = np.where(split == "train", names, "secret")
    scores, types = ANNOTATION["scanvi"].run(AnnotationCells(peaks, secret, split, batch), 0)
    assert sorted(types) == sorted(set(names))
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-4)
    truth = pd.Series(names[split == "test"])
    table = prediction_table(truth.index, scores, types)
    assert annotation_metrics(table, truth)["accuracy"].value > 0.6


def test_multivi_reads_expression_from_peaks(planted, monkeypatch):
    monkeypatch.setattr(multivi, "MAX_EPOCHS", 40)
    monkeypatch.setattr(multivi, "LEARNING_RATE", 5e-3)
    peaks, _, batch, counts, split = planted
    shown = sparse.csr_matrix(counts.toarray() * (split != "test")[:, None])
    cells = ExpressionCells(peaks, shown, split, 10, counts=shown, batch=batch)
    predicted = EXPRESSION["multivi"].run(cells, 0)
    truth = counts[split == "test"].toarray()
    error = ((predicted - truth) ** 2).mean()
    assert error < 0.8 * ((EXPRESSION["gene_mean"].run(cells, 0) - truth) ** 2).mean()


def test_lsi_finds_types(planted):
    peaks, names, batch, _, _ = planted
    cells = IntegrationCells(peaks, pd.Series(batch), pd.Series(names))
    embedding = INTEGRATION["lsi"].run(cells, 0)
    assert embedding.shape == (N_CELLS, 49)  # the first of 50, which follows depth, is dropped
    first = integration_metrics(embedding[:, :2], cells.cell_type, cells.batch)
    assert first["casw"].value > 0.75


def test_lines_are_least_squares():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    x[:, 2] = 5.3  # constant: the mean of y
    lines = fit_lines([(x[:7], y[:7]), (x[7:], y[7:])])
    expected = [np.polyfit(x[:, gene], y[:, gene], 1) for gene in range(2)]
    np.testing.assert_allclose(lines.slope, [*(slope for slope, _ in expected), 0], atol=1e-9)
    np.testing.assert_allclose(lines(x)[:, 2], y[:, 2].mean(), rtol=1e-6)


def test_gene_activity_on_the_scale_of_the_target(planted):
    peaks, _, _, counts, split = planted
    cells = ExpressionCells(peaks, counts * 3, split, 10, activity=counts)
    truth = (counts * 3)[split == "test"].toarray()
    errors = {
        method: ((EXPRESSION[method].run(cells, 0) - truth) ** 2).mean()
        for method in ("gene_activity_affine", "gene_activity_log", "gene_mean")
    }
    assert errors["gene_activity_affine"] < 0.5 * errors["gene_mean"]
    assert errors["gene_activity_affine"] < errors["gene_activity_log"]
    with pytest.raises(EvaluationError, match="no fragments"):
        EXPRESSION["gene_activity_affine"].run(
            replace(cells, activity=None, no_activity="no fragments"), 0
        )


def crash(cells, seed):
    raise ValueError("shapes differ\nsecond line")


def end(cells, seed):
    if multiprocessing.parent_process() is None:
        raise AssertionError("the job itself would have been ended")
    os.kill(os.getpid(), signal.SIGKILL)


def unfit(cells, seed):
    raise EvaluationError("no fragments")


@pytest.mark.parametrize("apart", [True, False])
def test_a_crash_becomes_one_line(apart):
    with pytest.raises(MethodError, match="^ValueError: shapes differ$"):
        attempt(crash, None, 0, apart=apart)


def test_what_the_system_ends_is_told():
    with pytest.raises(MethodError, match="the system ended its process"):
        attempt(end, None, 0, apart=True)


def test_what_does_not_apply_is_no_failure():
    with pytest.raises(EvaluationError, match="^no fragments$") as told:
        attempt(unfit, None, 0, apart=False)
    assert not isinstance(told.value, MethodError)


def test_the_cells_of_a_crashed_method_say_why(tiny_atlas, tmp_path, monkeypatch):
    rows = {
        "pca": Embedder(crash, "none", "none", apart=False),
        "lsi": Embedder(unfit, "none", "none", apart=False),
    }
    monkeypatch.setattr(benchmark, "INTEGRATION", rows)
    told = []
    for method in rows:
        path = tmp_path / f"{method}.parquet"
        arguments = {"method": method, "protocol": "paper", "seed": 0, "liger_python": ""}
        integrate(tiny_atlas.store, tiny_atlas.split, path, **arguments)
        told.append(read_embedding(path, tiny_atlas.store.cells["cell"]))
    assert told == ["failed: ValueError: shapes differ", "no fragments"]


def test_a_method_that_the_system_ends_leaves_the_others_their_results(
    tiny_atlas, tmp_path, monkeypatch
):
    rows = {"lsi_logistic": Annotator(end, "fit", "train"), "majority": ANNOTATION["majority"]}
    monkeypatch.setattr(benchmark, "ANNOTATION", rows)
    paths = {method: str(tmp_path / f"{method}.parquet") for method in rows}
    annotate_controls(tiny_atlas.store, tiny_atlas.split, paths, seed=0)
    test = tiny_atlas.store.cells["cell"][(tiny_atlas.split["split"] == "test").to_numpy()]
    ended, other = (read_predictions(path, test) for path in paths.values())
    assert ended.startswith("failed: the system ended its process")
    assert len(other) == len(test)


def test_only_what_costs_next_to_nothing_shares_the_process_of_its_job():
    together = {
        method
        for registry in (INTEGRATION, ANNOTATION, EXPRESSION)
        for method, row in registry.items()
        if not row.apart
    }
    activity = {"gene_activity", "gene_activity_log", "gene_activity_affine"}
    starts_its_own = {"liger"}
    assert together == {"random", "majority", "depth_only", "gene_mean"} | activity | starts_its_own


def metrics(notes):
    common = {"atlas": "mini", "dataset": "Kidney", "protocol": "paper", "task": "integration"}
    rows = [
        {**common, "method": method, "seed": 0, "metric": metric, "value": math.nan, "note": note}
        for method, note in notes.items()
        for metric in ("nmi", "gc")
    ]
    return pd.DataFrame(rows)


def test_a_missing_result_ends_the_run(tmp_path):
    table = metrics({"liger": "failed: environment missing", "pca": "one batch only", "lsi": None})
    missing = missing_results(table)
    assert list(missing["method"]) == ["liger"]
    with pytest.raises(MethodError, match=r"1 result is missing(?s:.*)liger on Kidney") as told:
        require_all(table, "R")
    assert "R/evaluation/mini/Kidney/paper.seed0/integration/liger.parquet" in str(told.value)
    require_all(metrics({"pca": "one batch only"}), "R")
