"""Predictions: one row per cell, in the order asked for, whatever they were packed with."""

import numpy as np
import pytest
import torch

from epifoundation.contracts import CELL_TYPE_PREDICTIONS
from epifoundation.errors import ModelError
from epifoundation.hub import Design, FoundationModel
from epifoundation.inference.precision import choose_device, on_device
from epifoundation.inference.predict import (
    embed,
    embed_all,
    expression_table,
    predict_cell_types,
    predict_expression,
)
from epifoundation.training.dataset import CellDataset


@pytest.fixture(scope="module")
def model(tiny_atlas, tiny_model) -> FoundationModel:
    heads = ("genes", "cell_types", "expression")
    return FoundationModel.build(
        Design(tiny_model, heads), tiny_atlas.vocabulary, cell_types=("A", "B", "C"), seed=0
    )


def test_embeddings_follow_the_order_of_rows(model, tiny_atlas):
    rows = np.array([17, 3, 41])
    everyone = embed(model, tiny_atlas.store, np.arange(60))
    assert everyone.dtype == np.float32
    assert everyone.shape == (60, 16)
    np.testing.assert_allclose(embed(model, tiny_atlas.store, rows), everyone[rows], atol=1e-5)
    table = embed_all(model, tiny_atlas.store)
    assert table["cell"].tolist() == tiny_atlas.store.cells["cell"].tolist()
    assert table.columns[-1] == "dim_15"


def test_reading_leaves_the_model_as_it_was(model, tiny_atlas):
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    embed(model, tiny_atlas.store, np.arange(10))
    assert all((before[name] == value).all() for name, value in model.network.state_dict().items())


def test_cell_types_are_the_largest_score(model, tiny_atlas):
    table = predict_cell_types(model, tiny_atlas.store, np.arange(5, 15))
    CELL_TYPE_PREDICTIONS.check(table, "here")
    scores = table.filter(like="score:")
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert (scores.idxmax(axis=1) == "score:" + table["predicted_cell_type"]).all()


def test_expression_of_all_genes(model, tiny_atlas):
    rows = np.array([9, 2])
    levels = predict_expression(model, tiny_atlas.store, rows)
    assert levels.shape == (2, tiny_atlas.vocabulary.n_genes)
    table = expression_table(model, tiny_atlas.store, rows)
    assert table.obs_names.tolist() == tiny_atlas.store.cells["cell"].iloc[rows].tolist()
    assert table.var_names.tolist() == tiny_atlas.vocabulary.genes["gene_name"].tolist()
    np.testing.assert_allclose(table.X, levels, atol=1e-6)


def test_a_model_is_read_where_it_lies(tiny_atlas, tiny_model, monkeypatch):
    model = FoundationModel.build(Design(tiny_model, ("genes",)), tiny_atlas.vocabulary, seed=0)
    assert next(on_device(model, "auto").network.parameters()).device == choose_device()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="no GPU that PyTorch"):
        on_device(model, "cuda")


def test_too_little_memory_names_the_setting(model, tiny_atlas, monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(model.network), "forward", fail)
    with pytest.raises(ModelError, match=r"memory of cpu .* Set training.device: cpu"):
        embed(model, tiny_atlas.store, np.arange(3))


def test_missing_head_is_named(tiny_atlas, tiny_model):
    pretrained = FoundationModel.build(
        Design(tiny_model, ("genes",)), tiny_atlas.vocabulary, seed=0
    )
    with pytest.raises(ModelError, match="not fine-tuned for cell types"):
        predict_cell_types(pretrained, tiny_atlas.store, np.arange(3))


def test_crops_of_long_cells_are_averaged(model, tiny_atlas, tiny_model):
    """One is what it was before there were several; cells that fit are read once."""
    store, rows = tiny_atlas.store, np.arange(60)
    n_peaks, most = np.diff(store.peak_indptr), 60
    fits = n_peaks <= most
    assert 5 < fits.sum() < 55
    cells = CellDataset(store, rows, most, seed=3)
    with torch.no_grad():
        drawn = [model.network.eval()(cells.read(rows, i).cells).numpy() for i in range(3)]
    one = embed(model, store, rows, seed=3)
    np.testing.assert_allclose(one, drawn[0], atol=1e-5)
    three = embed(model, store, rows, seed=3, crops=3)
    np.testing.assert_allclose(three, np.mean(drawn, axis=0), atol=1e-5)
    np.testing.assert_allclose(three[fits], one[fits], atol=1e-5)
    assert np.abs(three - one)[~fits].max() > 1e-3
    scores = predict_cell_types(model, store, rows, seed=3, crops=3).filter(like="score:")
    with torch.no_grad():
        logits = model.network.cell_type_logits(torch.from_numpy(three))
    np.testing.assert_allclose(scores, torch.softmax(logits, dim=1), atol=1e-5)
    assert expression_table(model, store, rows[:2], crops=2).shape == (2, store.n_genes)
    assert embed_all(model, store, crops=2).shape == (60, 17)
