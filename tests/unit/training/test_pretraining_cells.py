"""Pretraining without a tissue reads as many tokens; the directory says which cells it read."""

from dataclasses import replace

import pandas as pd
import pytest

from epifoundation.config import PretrainConfig
from epifoundation.data.leaks import LEARNED_FILE
from epifoundation.training.pretraining_cells import choose_cells, pretrain_on, tokens_per_epoch


@pytest.fixture
def two_tissues(tiny_atlas):
    """The tiny atlas, every third cell of it from a lung."""
    tissue = pd.Series(["Lung" if i % 3 == 0 else "Kidney" for i in range(60)])
    return replace(tiny_atlas.store, cells=tiny_atlas.store.cells.assign(tissue=tissue))


@pytest.fixture
def config(tiny_training):
    return PretrainConfig(**tiny_training.model_dump(), start_from=None)


def test_without_a_tissue_epochs_make_up_for_its_tokens(two_tissues, tiny_atlas, config):
    long = config.model_copy(update={"epochs": 100, "patience": 50})
    arguments = (two_tissues, tiny_atlas.split, long)
    split, more = choose_cells(*arguments, without=["kidney"], test_too=False, max_peaks=60)
    before = tokens_per_epoch(two_tissues, tiny_atlas.split, 60)
    after = tokens_per_epoch(two_tissues, split, 60)
    assert more.epochs > 200
    assert more.epochs * after == pytest.approx(100 * before, rel=0.01)
    assert more.patience == pytest.approx(more.epochs / 2, abs=1)
    same, unchanged = choose_cells(*arguments, without=[], test_too=False, max_peaks=60)
    assert same["split"].tolist() == tiny_atlas.split["split"].tolist()
    assert unchanged == long


@pytest.mark.parametrize("variant", ["no_tissue", "no_pretrain"])
def test_the_model_says_which_cells_it_learned_from(
    two_tissues, tiny_atlas, tiny_model, tiny_execution, config, tmp_path, variant
):
    pretrain_on(
        *(two_tissues, tiny_atlas.split, tiny_atlas.vocabulary, tiny_model),
        *(config.model_copy(update={"epochs": 1}), tiny_execution),
        variant=variant,
        without=["kidney"] if variant == "no_tissue" else [],
        test_too=False,
        seed=0,
        folder=tmp_path / "run",
        start_from=None,
        output=tmp_path / "model",
    )
    learned = set(pd.read_parquet(tmp_path / "model" / LEARNED_FILE)["cell"])
    cells = two_tissues.cells.set_index("cell")
    if variant == "no_pretrain":
        assert not learned
    else:
        assert set(cells["tissue"].loc[list(learned)]) == {"Lung"}
        held_out = tiny_atlas.split["cell"][tiny_atlas.split["split"] == "test"]
        assert not learned & set(held_out)
