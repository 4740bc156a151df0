"""Baselines on simulated cells: they find what is planted, and see only what they may."""

import sys
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import LinearRegression, Ridge

from epifoundation.errors import EvaluationError
from epifoundation.evaluation.annotation import annotation_metrics, prediction_table
from epifoundation.evaluation.baselines import ANNOTATION, EXPRESSION, INTEGRATION
from epifoundation.evaluation.baselines.binary_counts import BinaryCounts
from epifoundation.evaluation.baselines.cells import (
    AnnotationCells,
    ExpressionCells,
    IntegrationCells,
)
from epifoundation.evaluation.baselines.expression import fit_ridge
from epifoundation.evaluation.baselines.lsi import lsi, tf_idf
from epifoundation.evaluation.baselines.scanvi import scanvi_epochs
from epifoundation.evaluation.inputs import annotation_cells, integration_cells, join_activity
from epifoundation.evaluation.integration import integration_metrics

N_CELLS, N_PEAKS, N_TYPES = 160, 200, 3
FITTED = ["gene_mean", "depth_only", "lsi_ridge", "lsi_neighbours", "binary_ridge"]


@pytest.fixture(scope="module")
def planted():
    """Types by peaks of their own, expression by type, batches that shift some peaks."""
    rng = np.random.default_rng(1)
    types = rng.integers(0, N_TYPES, N_CELLS)
    batches = rng.integers(0, 2, N_CELLS)
    open_rate = np.full((N_CELLS, N_PEAKS), 0.1)
    for code in range(N_TYPES):
        open_rate[np.ix_(types == code, np.arange(40 * code, 40 * code + 40))] = 0.5
    open_rate[np.ix_(batches == 1, np.arange(160, 200))] = 0.4
    peaks = sparse.csr_matrix((rng.random(open_rate.shape) < open_rate).astype(np.float32))
    levels = sparse.csr_matrix(rng.poisson(1 + 2 * (types[:, None] == np.arange(30) % N_TYPES)))
    split = np.array(["train"] * 90 + ["validation"] * 20 + ["test"] * 50, dtype=object)
    names = np.array([f"type{code}" for code in types], dtype=object)
    return peaks, names, pd.Series([f"b{code}" for code in batches]), levels, split


@pytest.fixture
def integration(planted):
    peaks, names, batches, _, _ = planted
    return IntegrationCells(peaks, batches, pd.Series(names))


@pytest.fixture
def annotation(planted):
    peaks, names, _, _, split = planted
    return AnnotationCells(peaks, names, split)


@pytest.fixture
def expression(planted):
    peaks, _, _, levels, split = planted
    return ExpressionCells(peaks, levels, split, 10, no_activity="no fragments")


def scores_of(cells, method):
    embedding = INTEGRATION[method].run(cells, 0)
    assert embedding.shape[0] == N_CELLS
    assert embedding.dtype == np.float32
    return integration_metrics(embedding, cells.cell_type, cells.batch)


def test_pca_finds_types_and_a_random_embedding_does_not(integration):
    assert scores_of(integration, "pca")["nmi"].value > 0.7
    assert scores_of(integration, "random")["nmi"].value < 0.3


def test_harmony_mixes_batches_better_than_pca(integration):
    better, worse = scores_of(integration, "harmony"), scores_of(integration, "pca")
    assert better["basw"].value > worse["basw"].value
    assert better["nmi"].value > 0.7


@pytest.mark.parametrize("method", ["pca", "harmony", "random"])
def test_embeddings_repeat(integration, method):
    first, second = (INTEGRATION[method].run(integration, 3) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_scanvi_epochs_are_scibs():
    assert scanvi_epochs(460) == (400, 10)
    assert scanvi_epochs(40_000) == (200, 10)
    assert scanvi_epochs(2_000_000) == (4, 2)


def test_binary_likelihood_is_scvis():
    mu = torch.rand(5, 7) * 3
    theta = torch.rand(1, 7) * 5
    value = torch.randint(0, 2, (5, 7)).float()
    general = (
        torch.lgamma(value + theta)
        - torch.lgamma(theta)
        - torch.lgamma(value + 1)
        + theta * torch.log(theta / (theta + mu))
        + value * torch.log(mu / (theta + mu))
    )
    torch.testing.assert_close(BinaryCounts(mu, theta).log_prob(value), general)


def test_missing_liger_environment_is_named(integration):
    cells = replace(integration, liger_python="no-such/bin/python")
    with pytest.raises(EvaluationError, match=r"environment missing: no no-such/bin/python"):
        INTEGRATION["liger"].run(cells, 0)


def test_liger_failure_is_told(integration, monkeypatch, tmp_path):
    (tmp_path / "pyliger.py").write_text("raise RuntimeError('broken install')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EvaluationError, match="pyliger failed: RuntimeError: broken install"):
        INTEGRATION["liger"].run(replace(integration, liger_python=sys.executable), 0)


@pytest.mark.slow
def test_liger_with_its_environment(integration, root):
    python = Path(root, ".venv-liger", "bin", "python")
    if not python.exists():
        pytest.skip("the environment of LIGER (.venv-liger, made by `make setup`) is not there")
    assert scores_of(replace(integration, liger_python=str(python)), "liger")["nmi"].value > 0.3


def test_hidden_types_stay_hidden(tiny_atlas):
    test = (tiny_atlas.split["split"] == "test").to_numpy()
    shown = integration_cells(tiny_atlas.store, tiny_atlas.split, "paper", "")
    hidden = integration_cells(tiny_atlas.store, tiny_atlas.split, "donor-held-out", "")
    assert shown.cell_type.notna().all()
    assert hidden.cell_type[test].isna().all()
    assert hidden.cell_type[~test].notna().all()


def accuracy(cells, method):
    truth = pd.Series(cells.cell_type[cells.split == "test"])
    scores, names = ANNOTATION[method].run(cells, 0)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    table = prediction_table(truth.index, scores, names)
    return annotation_metrics(table, truth)["accuracy"].value


def test_controls_in_their_order(annotation):
    train = annotation.cell_type[annotation.split == "train"]
    most_frequent = pd.Series(train).mode()[0]
    truth = annotation.cell_type[annotation.split == "test"]
    assert accuracy(annotation, "majority") == np.mean(truth == most_frequent)
    for method in ("lsi_logistic", "lsi_neighbours", "binary_logistic", "binary_naive_bayes"):
        assert accuracy(annotation, method) > 0.9, method
    assert accuracy(annotation, "depth_only") < 0.6


@pytest.fixture
def as_bytes(planted):
    """The same peaks in the type that the store gives, with more open peaks than a byte counts."""
    always = sparse.csr_matrix(np.ones((N_CELLS, 300)))
    return {
        dtype: sparse.csr_matrix(sparse.hstack([planted[0], always]), dtype=dtype)
        for dtype in (np.uint8, np.float32)
    }


@pytest.mark.parametrize("method", sorted(ANNOTATION.keys() - {"scanvi"}))
def test_peaks_in_bytes_annotate_alike(annotation, as_bytes, method):
    first, second = (
        ANNOTATION[method].run(replace(annotation, accessible=peaks), 0)[0]
        for peaks in as_bytes.values()
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("method", FITTED)
def test_peaks_in_bytes_predict_alike(expression, as_bytes, method):
    first, second = (
        EXPRESSION[method].run(replace(expression, accessible=peaks), 0)
        for peaks in as_bytes.values()
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("method", ["pca", "harmony", "lsi"])
def test_peaks_in_bytes_embed_alike(integration, as_bytes, method):
    first, second = (
        INTEGRATION[method].run(replace(integration, accessible=peaks), 0)
        for peaks in as_bytes.values()
    )
    np.testing.assert_array_equal(first, second)
    assert as_bytes[np.float32].max() == 1  # what is given is not changed


def test_shuffled_types_fall_to_chance(annotation):
    shuffled = np.random.default_rng(0).permutation(annotation.cell_type)
    assert accuracy(replace(annotation, cell_type=shuffled), "lsi_logistic") < 0.55


@pytest.mark.parametrize("method", sorted(ANNOTATION.keys() - {"scanvi"}))
def test_annotation_never_reads_test_types(annotation, method):
    masked = np.where(annotation.split == "test", "secret", annotation.cell_type)
    first, names = ANNOTATION[method].run(annotation, 0)
    second, same = ANNOTATION[method].run(replace(annotation, cell_type=masked), 0)
    np.testing.assert_array_equal(first, second)
    assert names == same


@pytest.mark.parametrize("method", FITTED)
def test_expression_never_reads_test_levels(expression, method):
    levels = expression.levels.toarray()
    levels[expression.split == "test"] = 9
    first = EXPRESSION[method].run(expression, 0)
    second = EXPRESSION[method].run(replace(expression, levels=sparse.csr_matrix(levels)), 0)
    np.testing.assert_array_equal(first, second)


def test_what_reads_peaks_beats_the_gene_mean(expression):
    truth = expression.levels[expression.split == "test"].toarray()
    errors = {
        method: ((EXPRESSION[method].run(expression, 0) - truth) ** 2).mean() for method in FITTED
    }
    for method in ("lsi_ridge", "lsi_neighbours", "binary_ridge"):
        assert errors[method] < 0.9 * errors["gene_mean"], errors


def test_kernel_ridge_is_ridge_on_peaks(expression, monkeypatch):
    monkeypatch.setattr("epifoundation.evaluation.baselines.expression.KERNEL_PENALTIES", (30.0,))
    train, test = (expression.split == part for part in ("train", "test"))
    peaks, levels = expression.accessible.toarray(), expression.levels.toarray()
    direct = Ridge(alpha=30.0).fit(peaks[train], levels[train]).predict(peaks[test])
    np.testing.assert_allclose(
        EXPRESSION["binary_ridge"].run(expression, 0), direct, rtol=1e-4, atol=1e-4
    )


def test_ridge_on_peaks_says_how_many_cells_it_takes(expression, monkeypatch):
    monkeypatch.setattr("epifoundation.evaluation.baselines.expression.MAX_KERNEL_CELLS", 80)
    with pytest.raises(EvaluationError, match="90 training cells are too many"):
        EXPRESSION["binary_ridge"].run(expression, 0)


def test_no_validation_cell_is_told(annotation, expression):
    for cells, methods, name in (
        (annotation, ANNOTATION, "lsi_logistic"),
        (expression, EXPRESSION, "lsi_ridge"),
    ):
        split = np.where(cells.split == "validation", "train", cells.split)
        with pytest.raises(EvaluationError, match="no validation cell"):
            methods[name].run(replace(cells, split=split), 0)


def test_gene_activity_needs_fragments(expression):
    with pytest.raises(EvaluationError, match="no fragments"):
        EXPRESSION["gene_activity"].run(expression, 0)


def test_gene_activity_levels_and_log():
    counts = sparse.csr_matrix([[0, 1, 2, 7], [5, 0, 0, 0]])
    cells = ExpressionCells(counts, counts, np.array(["test", "test"]), 4, counts)
    log = EXPRESSION["gene_activity_log"].run(cells, 0)
    np.testing.assert_allclose(log[0], np.log1p(np.array([0, 0.1, 0.2, 0.7]) * 1e4), rtol=1e-6)
    levels = EXPRESSION["gene_activity"].run(cells, 0)
    # three quantiles of 1, 2, 7 within the cell: its values 1, 2 and 7 themselves
    np.testing.assert_array_equal(levels, [[0, 1, 2, 3], [3, 0, 0, 0]])


def test_ridge_is_sklearns():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.poisson(1, (40, 7))
    for penalty, model in ((3.0, Ridge(alpha=3.0)), (0.0, LinearRegression())):
        ours = fit_ridge(x, sparse.csr_matrix(y), penalty)
        np.testing.assert_allclose(ours.predict(x), model.fit(x, y).predict(x), rtol=1e-5)
        some = ours.of_genes(slice(2, 4)).predict(x)
        np.testing.assert_array_equal(some, ours.predict(x)[:, 2:4])


def test_tf_idf_by_hand():
    peaks = sparse.csr_matrix([[1, 1, 0], [1, 0, 0], [1, 1, 1]], dtype=float)
    fit = np.array([True, True, False])
    # idf 2/2 and 2/1; the third peak is open in no fit cell; tf counts the peaks that stay
    expected = np.log1p(1e4 * np.array([[0.5, 1], [1, 0], [0.5, 1]]))
    np.testing.assert_allclose(tf_idf(peaks, fit).toarray(), expected)


def test_lsi_is_standardised_over_fit_cells(planted):
    peaks, _, _, _, split = planted
    components = lsi(peaks, split == "train")
    np.testing.assert_allclose(components[split == "train"].mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(components[split == "train"].std(axis=0), 1)


def test_activity_is_joined_by_cell_and_gene(tiny_atlas):
    store, genes = tiny_atlas.store, tiny_atlas.vocabulary.genes
    rng = np.random.default_rng(0)
    expected = rng.poisson(1, (store.n_cells, len(genes)))
    expected[:, 5] = 0  # a gene without activity
    parts = {}
    for sample in store.cells["sample"].unique():
        own = np.flatnonzero(store.cells["sample"] == sample)[::-1]
        columns = rng.permutation(np.delete(np.arange(len(genes)), 5))
        barcodes = store.cells["cell"].iloc[own].str.partition("#")[2].to_numpy()
        part = ad.AnnData(sparse.csr_matrix(expected[np.ix_(own, columns)]))
        part.obs_names = barcodes
        part.var["gene_id"] = genes["gene_id"].to_numpy()[columns]
        parts[sample] = part
    joined = join_activity(parts, store, genes["gene_id"])
    np.testing.assert_array_equal(joined.toarray(), expected)


def test_cells_without_a_type_are_not_fitted_on(tiny_atlas):
    cells = tiny_atlas.store.cells.copy()
    training = tiny_atlas.split["split"].to_numpy() == "train"
    first = int(np.flatnonzero(training)[0])
    cells.loc[first, "cell_type"] = "unassigned"
    known = annotation_cells(replace(tiny_atlas.store, cells=cells), tiny_atlas.split)
    assert len(known.cell_type) == len(cells) - 1
    assert "unassigned" not in known.cell_type


def test_unused_cells_keep_their_peaks_but_hide_their_types(tiny_atlas):
    split = tiny_atlas.split.copy()
    training = np.flatnonzero(split["split"] == "train")
    split.loc[training[::2], "split"] = "unused"
    cells = annotation_cells(tiny_atlas.store, split)
    assert cells.accessible.shape[0] == len(split)
    unused = split.set_index("cell")["split"][tiny_atlas.store.cells["cell"]] == "unused"
    assert all(name is None for name in cells.cell_type[unused.to_numpy()])
    assert all(isinstance(name, str) for name in cells.cell_type[~unused.to_numpy()])
    assert "unused" not in annotation_cells(tiny_atlas.store, tiny_atlas.split).split
    assert tiny_atlas.store.cells["cell_type"].notna().all()
    scores, names = ANNOTATION["binary_naive_bayes"].run(cells, 0)
    assert scores.shape == ((split["split"] == "test").sum(), len(names))
    assert "None" not in names
