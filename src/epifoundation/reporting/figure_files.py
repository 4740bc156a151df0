"""Read what a figure shows, and write it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from epifoundation.contracts import SPLIT
from epifoundation.data.store import TokenStore, expression_levels
from epifoundation.errors import EvaluationError
from epifoundation.evaluation.inputs import labelled_test_cells, split_of
from epifoundation.evaluation.results import read_embedding, read_expression, read_predictions
from epifoundation.reporting.figures import (
    Panel,
    atlas_panel,
    heatmap_panel,
    method_panel,
    text_panel,
    write_figure,
)
from epifoundation.reporting.names import method_name
from epifoundation.reporting.prediction_figures import (
    calibration_panel,
    confusion_panel,
    genes_panel,
    varying_genes,
)

Outputs = Mapping[str, str]  # "pdf" and "png" to paths
N_GENES = 6  # of a data set, where none are named
NO_LABELLED_CELL = "no test cell has a type"
NO_DATA_SET = "No data set of this figure is part of this atlas."


def write_atlas_figure(store: Path | str, embedding: Path | str, outputs: Outputs) -> None:
    """Write Figure 1 from the token store and EpiFoundation's embedding of the atlas."""
    cells = TokenStore.open(store).cells
    read = read_embedding(embedding, cells["cell"])
    title = f"{len(cells):,} cells of the atlas, EpiFoundation"
    panel = text_panel(read) if isinstance(read, str) else atlas_panel(read, cells, title)
    write_figure([panel], outputs["pdf"], outputs["png"])


def write_heatmap_figure(
    datasets: Sequence[str],
    stores: Sequence[str],
    splits: Sequence[str],
    predictions: Sequence[str],
    outputs: Outputs,
) -> None:
    """Write Figure 3 or 6, a panel per data set."""
    panels = []
    for dataset, where, split, path in zip(datasets, stores, splits, predictions, strict=True):
        store = TokenStore.open(where)
        test = store.cells[split_of(store, SPLIT.read(split)) == "test"]
        table = read_predictions(path, test["cell"])
        title = f"{dataset}, EpiFoundation"
        panels.append(
            text_panel(f"{dataset}: {table}")
            if isinstance(table, str)
            else heatmap_panel(table, test["cell_type"], title)
        )
    write_figure(panels or [text_panel(NO_DATA_SET)], outputs["pdf"], outputs["png"])


def write_method_figure(
    datasets: Sequence[str],
    stores: Sequence[str],
    splits: Sequence[str],
    methods: Sequence[str],
    embeddings: Sequence[str],
    outputs: Outputs,
) -> None:
    """Write Figure 4 or 5, a panel per data set: the test cells as each method embeds them.

    `embeddings` lists the files of all methods of the first data set, then of the second, ….
    """
    panels: list[Panel] = []
    for place, dataset in enumerate(datasets):
        store = TokenStore.open(stores[place])
        test = store.cells[split_of(store, SPLIT.read(splits[place])) == "test"]
        paths = embeddings[place * len(methods) : (place + 1) * len(methods)]
        read = {
            method_name(method): read_embedding(path, test["cell"])
            for method, path in zip(methods, paths, strict=True)
        }
        panels.append(method_panel(read, test, f"{dataset}, {len(test):,} test cells"))
    write_figure(panels or [text_panel(NO_DATA_SET)], outputs["pdf"], outputs["png"])


def write_confusion_figure(
    datasets: Sequence[str],
    stores: Sequence[str],
    splits: Sequence[str],
    predictions: Sequence[str],
    outputs: Outputs,
) -> None:
    """Write which types EpiFoundation takes for which, a panel per data set."""
    panels = []
    for dataset, where, split, path in zip(datasets, stores, splits, predictions, strict=True):
        test = labelled_test_cells(TokenStore.open(where), SPLIT.read(split))
        table = read_predictions(path, test["cell"]) if len(test) else NO_LABELLED_CELL
        panels.append(
            text_panel(f"{dataset}: {table}")
            if isinstance(table, str)
            else confusion_panel(table, test["cell_type"], f"{dataset}, EpiFoundation")
        )
    write_figure(panels, outputs["pdf"], outputs["png"])


def write_calibration_figure(
    datasets: Sequence[str],
    stores: Sequence[str],
    splits: Sequence[str],
    methods: Sequence[str],
    predictions: Sequence[str],
    outputs: Outputs,
) -> None:
    """Write how far scores can be trusted, axes per data set.

    `predictions` lists the files of all methods of the first data set, then of the second, ….
    """
    read, truths = {}, {}
    for place, dataset in enumerate(datasets):
        test = labelled_test_cells(TokenStore.open(stores[place]), SPLIT.read(splits[place]))
        paths = predictions[place * len(methods) : (place + 1) * len(methods)]
        if len(test):
            truths[dataset] = test["cell_type"]
            read[dataset] = {
                method_name(method): read_predictions(path, test["cell"])
                for method, path in zip(methods, paths, strict=True)
            }
    panel = calibration_panel(read, truths) if read else text_panel(NO_LABELLED_CELL)
    write_figure([panel], outputs["pdf"], outputs["png"])


def write_genes_figure(
    datasets: Sequence[str],
    stores: Sequence[str],
    splits: Sequence[str],
    expressions: Sequence[str],
    genes: pd.DataFrame,
    shown: Sequence[str],
    outputs: Outputs,
    *,
    n_bins: int,
) -> None:
    """Write predicted against true levels of genes in the test cells, a panel per data set.

    Parameters
    ----------
    genes
        The vocabulary's.
    shown
        Names of genes; where empty, N_GENES that vary most in the data set.
    """
    names = pd.Index(genes["gene_name"])
    if len(absent := [gene for gene in shown if gene not in names]):
        message = (
            f"benchmark.shown_genes: {len(absent)} of {len(shown)} are not in the vocabulary"
            f" (first: {absent[0]}). Name genes of genes.tsv, or none."
        )
        raise EvaluationError(message)
    panels = []
    for dataset, where, split, path in zip(datasets, stores, splits, expressions, strict=True):
        store = TokenStore.open(where)
        rows = np.flatnonzero(split_of(store, SPLIT.read(split)) == "test")
        target = expression_levels(store, n_bins, rows)
        columns = [int(names.get_loc(gene)) for gene in shown] or varying_genes(target, N_GENES)
        own = [str(names[column]) for column in columns]
        levels = read_expression(path, store.cells["cell"].iloc[rows], own)
        title = f"{dataset}, EpiFoundation, {len(rows):,} test cells"
        panels.append(genes_panel(target[:, columns].toarray().astype(float), levels, own, title))
    write_figure(panels, outputs["pdf"], outputs["png"])
