"""Figures: both formats, the same bytes every time, every method and type shown."""

import numpy as np
import pandas as pd
import pytest

from epifoundation.reporting.figures import (
    atlas_panel,
    colours_of,
    heatmap_panel,
    method_panel,
    text_panel,
    umap_layout,
    write_figure,
)

# umap misses Tensorflow, which only its parametric variant needs
pytestmark = pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "tissue": rng.choice(["kidney", "blood"], 60),
            "cell_type": rng.choice([f"type {code}" for code in range(12)], 60),
            "batch": rng.choice(["b1", "b2"], 60),
        }
    )


@pytest.fixture(scope="module")
def embedding():
    return np.random.default_rng(1).normal(size=(60, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def panels(cells, embedding):
    types = sorted(cells["cell_type"].unique())
    scores = np.random.default_rng(2).dirichlet(np.ones(len(types)), 60)
    predictions = pd.DataFrame(scores, columns=[f"score:{name}" for name in types])
    return {
        "atlas": [atlas_panel(embedding, cells, "Atlas")],
        "methods": [
            method_panel({"PCA": embedding, "LIGER": "environment missing"}, cells, "Kidney"),
            text_panel("BMMC: no embedding"),
        ],
        "heatmap": [heatmap_panel(predictions, cells["cell_type"], "PBMC")],
    }


@pytest.mark.parametrize("name", ["atlas", "methods", "heatmap"])
def test_figures_are_the_same_bytes_every_time(panels, name, tmp_path):
    for run in ("first", "second"):
        write_figure(panels[name], tmp_path / f"{run}.pdf", tmp_path / f"{run}.png")
    for suffix in ("pdf", "png"):
        first = (tmp_path / f"first.{suffix}").read_bytes()
        assert first == (tmp_path / f"second.{suffix}").read_bytes()
        assert len(first) > 5_000
    assert b"CreationDate" not in (tmp_path / "first.pdf").read_bytes()


def test_few_cells_have_a_layout():
    assert umap_layout(np.eye(3)).shape == (3, 2)


def test_colours_differ_up_to_32_names():
    assert len(set(colours_of([str(code) for code in range(32)]).values())) == 32


def test_a_type_missing_from_training_is_drawn(tmp_path):
    predictions = pd.DataFrame({"score:T": [0.9, 0.5], "score:B": [0.1, 0.5]})
    panel = heatmap_panel(predictions, pd.Series(["T", "N"]), "tiny")
    write_figure([panel], tmp_path / "f.pdf", tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 1_000
