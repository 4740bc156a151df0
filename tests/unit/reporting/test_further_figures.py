"""Ablations, ranks, confusion, calibration and genes: what they show, and that it is the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import sparse

from epifoundation.data.store import expression_levels
from epifoundation.errors import EvaluationError
from epifoundation.evaluation.inputs import split_of
from epifoundation.evaluation.results import write_expression, write_failure, write_predictions
from epifoundation.reporting.figure_files import (
    write_calibration_figure,
    write_confusion_figure,
    write_genes_figure,
)
from epifoundation.reporting.layouts import LAYOUTS
from epifoundation.reporting.metric_figures import (
    ablation_panel,
    mean_ranks,
    write_ablation_figure,
    write_rank_figure,
)
from epifoundation.reporting.prediction_figures import (
    calibration_of,
    confusion_panel,
    genes_panel,
    varying_genes,
)


def metrics_of(rows):
    common = {"atlas": "mini", "protocol": "paper", "seed": 0, "n_cells": 9, "n_donors": 1}
    common |= {"n_types": 2, "fit_on": "fit", "labels_seen": "train", "label_source": "disco_wnn"}
    common |= {"note": "", "input_hash": "ab", "low": np.nan, "high": np.nan}
    names = ["task", "dataset", "method", "metric", "value"]
    return pd.DataFrame([common | dict(zip(names, row, strict=True)) for row in rows])


@pytest.fixture
def metrics():
    return metrics_of(
        [
            ("expression", "A", "lsi_ridge", "mse", 2.0),
            ("expression", "A", "epifoundation", "mse", 1.0),
            ("expression", "A", "gene_mean", "mse", np.nan),
            ("expression", "B", "lsi_ridge", "mse", 5.0),
            ("expression", "B", "epifoundation", "mse", 6.0),
            ("expression", "B", "gene_mean", "mse", 7.0),
            ("expression", "B", "gene_activity_log", "mse", 0.1),
            ("expression", "A", "lsi_ridge", "pearson", 0.1),
            ("expression", "A", "epifoundation", "pearson", 0.2),
            ("ablation", "Kidney", "epifoundation", "nmi", 0.5),
            ("ablation", "Kidney", "epifoundation_no_batch", "nmi", 0.4),
        ]
    )


@pytest.fixture
def outputs(tmp_path):
    return {suffix: str(tmp_path / f"figure.{suffix}") for suffix in ("pdf", "png")}


def written_twice_alike(write, outputs, *arguments, **options):
    """The bytes of both files; fails unless a second run leaves the same."""
    runs = []
    for _ in range(2):
        write(*arguments, outputs, **options)
        runs.append(tuple(Path(outputs[name]).read_bytes() for name in ("pdf", "png")))
    assert runs[0] == runs[1]
    assert b"CreationDate" not in runs[0][0]
    return runs[0]


def test_ranks_are_over_methods_with_a_number_and_averaged_over_data_sets(metrics):
    ranks = mean_ranks(metrics, LAYOUTS[3])
    assert list(ranks.columns) == ["mse", "pearson"]
    assert list(ranks.index) == ["epifoundation", "lsi_ridge", "gene_mean"]
    assert list(ranks["mse"]) == [1.5, 1.5, 3.0]
    assert ranks.loc["lsi_ridge", "pearson"] == 2
    other = metrics.assign(protocol="donor_held_out")
    assert mean_ranks(other, LAYOUTS[3]).empty


def test_metric_figures_are_the_same_twice(metrics, outputs):
    written_twice_alike(write_rank_figure, outputs, metrics)
    with_ablation = written_twice_alike(write_ablation_figure, outputs, metrics)
    none = metrics[metrics["task"] != "ablation"]
    assert written_twice_alike(write_ablation_figure, outputs, none) != with_ablation


def test_bars_are_the_numbers_the_full_model_before_the_ablated(metrics):
    from epifoundation.reporting.tables import result_table

    table = result_table(metrics, LAYOUTS[4], comparable=False)
    figure = Figure()
    ablation_panel(table[table["table"] == "4"], "Kidney").draw(figure)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0.5, 0.4]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["EpiFoundation", "EpiFoundation without\nbatch"]


def test_calibration_by_hand():
    predictions = pd.DataFrame(
        {
            "predicted_cell_type": ["B", "B", "T", "T"],
            "score:B": [0.92, 0.98, 0.4, 0.0],
            "score:T": [0.08, 0.02, 0.6, 1.0],
        }
    )
    bins, error = calibration_of(predictions, pd.Series(["B", "T", "T", "T"]))
    assert list(bins["bin"]) == [6, 9]
    assert list(bins["n_cells"]) == [1, 3]
    assert bins["accuracy"].tolist() == pytest.approx([1, 2 / 3])
    assert error == pytest.approx((0.4 + 3 * abs(2 / 3 - 2.9 / 3)) / 4)


def test_confusion_shares_are_of_the_true_type_and_predicted_types_have_columns():
    predictions = pd.DataFrame({"predicted_cell_type": ["B", "T", "T", "NK"]})
    figure = Figure()
    confusion_panel(predictions, pd.Series(["B", "B", "T", "T"]), "").draw(figure)
    axes = figure.axes[0]
    assert axes.images[0].get_array().tolist() == [[0.5, 0.5, 0], [0, 0.5, 0.5]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["B", "T", "NK"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["B (2)", "T (2)"]


def test_genes_that_vary_most_come_first():
    levels = sparse.csr_matrix(np.array([[0, 9, 1], [0, 0, 2], [0, 9, 1]], dtype=np.uint8))
    assert varying_genes(levels, 2) == [1, 2]


def test_a_line_shows_the_mean_prediction_of_each_level():
    figure = Figure()
    true = np.array([[0.0], [0.0], [9.0]])
    genes_panel(true, np.array([[1.0], [3.0], [8.0]]), ["G"], "").draw(figure)
    (line,) = figure.axes[0].lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 9], [2, 8])


@pytest.fixture
def files(tiny_atlas, tmp_path):
    """Paths of store, split, predictions and expression of the test cells, and what failed."""
    store, split = tiny_atlas.store, tmp_path / "split.tsv"
    tiny_atlas.split.to_csv(split, sep="\t", index=False)
    rows = np.flatnonzero(split_of(store, tiny_atlas.split) == "test")
    test = store.cells.iloc[rows]
    types = sorted(set(test["cell_type"]))
    table = pd.DataFrame(
        {f"score:{name}": 1 / len(types) for name in types}, index=range(len(test))
    )
    table.insert(0, "cell", test["cell"].to_numpy())
    table.insert(1, "predicted_cell_type", types[0])
    write_predictions(tmp_path / "p.parquet", table)
    write_failure(tmp_path / "failed.parquet", test["cell"], "out of memory")
    genes = tiny_atlas.vocabulary.genes
    levels = expression_levels(store, 10, rows).toarray()
    write_expression(tmp_path / "e.h5ad", test["cell"], genes["gene_name"], levels)
    folder = str(tiny_atlas.folder)
    names = ("p.parquet", "failed.parquet", "e.h5ad")
    return [folder], [str(split)], *(str(tmp_path / name) for name in names)


def test_figures_of_predictions_are_the_same_twice_and_say_what_failed(files, tiny_atlas, outputs):
    stores, splits, right, failed, expression = files
    data = ["tiny"], stores, splits
    confusion = [
        written_twice_alike(write_confusion_figure, outputs, *data, [path])
        for path in (right, failed)
    ]
    assert confusion[0] != confusion[1]
    methods = ["epifoundation", "scanvi"]
    written_twice_alike(write_calibration_figure, outputs, *data, methods, [right, failed])
    genes = tiny_atlas.vocabulary.genes
    arguments = (*data, [expression], genes)
    chosen = written_twice_alike(
        write_genes_figure, outputs, *arguments, list(genes["gene_name"][:2]), n_bins=10
    )
    assert chosen != written_twice_alike(write_genes_figure, outputs, *arguments, [], n_bins=10)


def test_a_gene_that_is_not_there_is_named(files, tiny_atlas, outputs):
    stores, splits, _, _, expression = files
    genes = tiny_atlas.vocabulary.genes
    with pytest.raises(EvaluationError, match=r"1 of 1 are not in the vocabulary \(first: MYTH1\)"):
        write_genes_figure(
            ["tiny"], stores, splits, [expression], genes, ["MYTH1"], outputs, n_bins=10
        )
