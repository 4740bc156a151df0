"""Every text of a figure lies within it and beside the others, however many types there are."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from epifoundation.reporting.curves import curves_panel
from epifoundation.reporting.figures import (
    FONT,
    Panel,
    atlas_panel,
    figure_of,
    heatmap_panel,
    method_panel,
    text_panel,
)
from epifoundation.reporting.metric_figures import ablation_panel, rank_panel
from epifoundation.reporting.names import METHOD_NAMES
from epifoundation.reporting.prediction_figures import (
    calibration_panel,
    confusion_panel,
    genes_panel,
)

N_CELLS = 240
SLACK = 1.0  # pixels, of 100 an inch


@pytest.fixture(scope="module", params=[6, 60])
def cells(request):
    rng = np.random.default_rng(0)
    n = request.param
    long = "CD4-positive, alpha-beta memory T cell of the node"
    types = [f"{long} {code}" if code % 7 == 0 else f"cell of type {code}" for code in range(n)]
    return pd.DataFrame(
        {
            "tissue": rng.choice([f"tissue of some length {code}" for code in range(30)], N_CELLS),
            "cell_type": [types[place % n] for place in range(N_CELLS)],
            "batch": rng.choice([f"sample_{code}_GSM123456" for code in range(20)], N_CELLS),
        }
    )


@pytest.fixture(scope="module")
def predictions(cells):
    types = sorted(set(cells["cell_type"]))
    scores = np.random.default_rng(2).dirichlet(np.ones(len(types)), N_CELLS)
    table = pd.DataFrame(scores, columns=[f"score:{name}" for name in types])
    return table.assign(predicted_cell_type=np.asarray(types)[scores.argmax(axis=1)])


def check(panels):
    with mpl.rc_context(FONT):
        figure = figure_of(panels)
        figure.set_dpi(100)
        figure.draw_without_rendering()
        width, height = figure.bbox.width, figure.bbox.height
        drawn = drawn_labels(figure)
    clipped = [
        name
        for name, box in drawn
        if box.x0 < -SLACK or box.y0 < -SLACK or box.x1 > width + SLACK or box.y1 > height + SLACK
    ]
    assert not clipped, f"outside of the figure: {clipped[:5]} of {len(clipped)}"
    overlapping = [
        (one, other)
        for place, (one, box) in enumerate(drawn)
        for other, beside in drawn[place + 1 :]
        if overlap(box, beside) > SLACK
    ]
    assert not overlapping, f"overlapping: {overlapping[:5]} of {len(overlapping)}"


def overlap(box, other):
    """How deep one box lies in the other, in pixels, along the shorter way."""
    wide = min(box.x1, other.x1) - max(box.x0, other.x0)
    high = min(box.y1, other.y1) - max(box.y0, other.y0)
    return min(wide, high)


def drawn_labels(figure):
    """Every text that shows something, with its box; ticks outside of the limits are not drawn."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    hidden = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                inside = low <= tick.get_loc() <= high
                if not (inside and tick.get_visible() and ax.axison):
                    hidden |= {tick.label1, tick.label2}
        if not ax.axison:
            hidden |= {ax.xaxis.label, ax.yaxis.label}
    return [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.findobj(Text)
        if text not in hidden and text.get_visible() and text.get_text().strip()
    ]


@pytest.fixture(autouse=True)
def no_umap(monkeypatch):
    monkeypatch.setattr("epifoundation.reporting.figures.umap_layout", lambda points: points)


def metric_rows(methods, metrics):
    rng = np.random.default_rng(3)
    rows = [
        {"method": method, "metric": metric, "value": rng.random(), "deviation": 0.02}
        | {"low": 0.2, "high": 0.6, "printed": 0.5}
        for method in methods
        for metric in metrics
    ]
    return pd.DataFrame(rows)


def test_umaps_and_their_legends(cells):
    embedding = np.random.default_rng(1).normal(size=(N_CELLS, 4)).astype(np.float32)
    check([atlas_panel(embedding[:, :2], cells, "Atlas")])


def test_methods(cells):
    points = np.random.default_rng(1).normal(size=(N_CELLS, 2)).astype(np.float32)
    methods = {
        **{METHOD_NAMES[name]: points for name in ("pca", "liger", "scanvi", "epifoundation")},
        METHOD_NAMES["epifoundation_pretrained"]: "its environment is missing on this machine",
    }
    check([method_panel(methods, cells, "Kidney")])


def test_heat_map(cells, predictions):
    check([heatmap_panel(predictions, cells["cell_type"], "PBMC")] * 2)


def test_confusion(cells, predictions):
    check([confusion_panel(predictions, cells["cell_type"], "PBMC, EpiFoundation")] * 2)


def test_calibration(cells, predictions):
    names = [METHOD_NAMES[name] for name in ("epifoundation", "lsi_logistic", "binary_logistic")]
    methods = {**dict.fromkeys(names, predictions), "scANVI": "environment missing"}
    datasets = [f"data set {code}" for code in range(5)]
    truths = dict.fromkeys(datasets, cells["cell_type"])
    check([calibration_panel(dict.fromkeys(datasets, methods), truths)])


def test_genes():
    target = np.random.default_rng(4).integers(0, 10, (50, 8)).astype(float)
    genes = ["GENE1", "ENSG00000243485.5", "AL627309.1", "HLA-DRB5", "A", "B", "C", "MIR1302-2HG"]
    check(
        [genes_panel(target, target / 2, genes, "Kidney"), genes_panel(target, "none", genes, "")]
    )


def test_ablation_and_ranks():
    methods = [name for name in METHOD_NAMES if name.startswith("epifoundation")]
    metrics = ["nmi", "basw", "tissue_accuracy", "pearson_within_type", "a_metric_without_a_name"]
    table = metric_rows(methods, metrics)
    ranks = table.pivot_table(index="method", columns="metric", values="value") * 6
    ranks = pd.concat([ranks] * 2, axis=1)
    ranks.columns = [*metrics, "iso", "casw", "clisi", "gc", "ilisi"]
    check([ablation_panel(table, "Kidney, protocol paper"), rank_panel(ranks, "Batch correction")])


def test_training_curves():
    losses = {"epoch": [1, 2, 3], "loss": [3, 2, 1], "validation_loss": [3, 2, 2]}
    names = [f"expression of a data set with a long name {code}" for code in range(8)]
    check([curves_panel(dict.fromkeys(names, pd.DataFrame(losses)))])


def test_what_is_said(cells):
    check([text_panel("No data set of this figure is part of this atlas, and " * 4)])


def test_a_text_outside_is_seen():
    def draw(part):
        part.subplots().text(0.5, 3, "far above").set_in_layout(False)

    with pytest.raises(AssertionError, match="outside of the figure"):
        check([Panel(2, 2, draw)])


def test_texts_on_one_another_are_seen():
    def draw(part):
        axes = part.subplots()
        axes.text(0.5, 0.5, "some words")
        axes.text(0.52, 0.5, "other words")

    with pytest.raises(AssertionError, match="overlapping"):
        check([Panel(2, 2, draw)])
