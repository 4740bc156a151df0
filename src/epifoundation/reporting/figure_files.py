"""Read what a figure shows, and write it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from epifoundation.contracts import SPLIT
from epifoundation.data.store import TokenStore
from epifoundation.evaluation.inputs import split_of
from epifoundation.evaluation.results import read_embedding, read_predictions
from epifoundation.reporting.figures import (
    Panel,
    atlas_panel,
    heatmap_panel,
    method_panel,
    text_panel,
    write_figure,
)
from epifoundation.reporting.names import method_name

Outputs = Mapping[str, str]  # "pdf" and "png" to paths
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
