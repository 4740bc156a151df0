"""A table laid out for reading: grids of cells, remarks, and the reasons of empty cells."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from epifoundation.reporting.layouts import NOT_PRINTED, Layout
from epifoundation.reporting.names import (
    BETWEEN,
    arrow,
    group_name,
    method_name,
    metric_name,
    protocol_name,
)

METHOD_KEYS = ["atlas", "dataset", "protocol", "block", "method"]
NOT_SCORED = "this method was not scored with this metric here"
PROVENANCE = {
    "n_cells": "Test cells",
    "n_donors": "Donors",
    "n_types": "Types",
    "seeds": "Seeds",
    "fit_on": "Fitted on",
    "labels_seen": "Labels seen",
    "label_source": "Labels from",
    "input_hash": "Input",
}
FEWEST_SEEDS = 3
HASH_LENGTH = 8  # shown; the TSV has all of it


@dataclass(frozen=True)
class Cell:
    """Text of a cell; smaller lines below it; or the reason why it is empty."""

    text: str
    details: tuple[str, ...] = ()
    bold: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Grid:
    """Part of a table with a header of its own."""

    title: str
    header: list[str]
    rows: list[list[Cell]]


@dataclass
class Page:
    """Title, grids and what stands below them."""

    title: str
    grids: list[Grid]
    remarks: list[str]
    reasons: list[str] = field(init=False)  # numbered from 1 below the grids

    def __post_init__(self) -> None:
        cells = [cell for grid in self.grids for row in grid.rows for cell in row]
        self.reasons = list(dict.fromkeys(cell.reason for cell in cells if cell.reason))

    def mark(self, cell: Cell) -> str:
        """Return the number of the cell's reason."""
        return str(self.reasons.index(cell.reason) + 1)


def lay_out(table: pd.DataFrame, layout: Layout) -> Page:
    """Return `tables.result_table` for reading: a grid for each part and protocol."""
    number = str(layout.number)
    grids = [*_agreements(_part(table, number + "a"), number)]
    for protocol, part in _by_protocol(_part(table, number)):
        title = f"Table {number}, protocol {protocol_name(protocol)}"
        grids.append(_methods(part, title, layout.metrics, layout, verdicts=True))
    for protocol, part in _by_protocol(_part(table, number + "b")):
        metrics = tuple(dict.fromkeys(part["metric"]))
        title = f"Table {number}b, further metrics, protocol {protocol}"
        grids.append(_methods(part, title, metrics, layout, verdicts=False))
    for protocol, part in _by_protocol(_part(table, number + "c")):
        grids += _groups(part, f"Table {number}c", protocol)
    for protocol, part in _by_protocol(_part(table, number + "d")):
        grids.append(_losses(part, f"Table {number}d, what is lost, protocol {protocol}"))
    remarks = [*layout.remarks, *_notes(table, number)]
    n_seeds = int(table["n_seeds"].max()) if table["n_seeds"].notna().any() else 0
    if layout.full is not None and 0 < n_seeds < FEWEST_SEEDS:
        remarks.append(
            f"Seeds: {n_seeds}. Whether a printed difference exceeds the scatter of seeds can be"
            f" said from {FEWEST_SEEDS} on (benchmark.seeds)."
        )
    if _part(table, number).empty:
        remarks.append("No data set of this atlas is part of this comparison.")
    return Page(f"Table {number}. {layout.title}", grids, remarks)


def _notes(table: pd.DataFrame, number: str) -> list[str]:
    """Return what is to be known of numbers, said once for all methods of which it is true."""
    said_of = table["value"].notna() & (table["note"] != "")
    valued = table[said_of & (table["table"] != f"{number}d")]
    methods = table.groupby(["dataset", "metric"])["method"].nunique().to_dict()
    said: dict[tuple[str, str], list[str]] = {}
    for (note, dataset, metric), group in valued.groupby(["note", "dataset", "metric"], sort=False):
        own = dict.fromkeys(map(method_name, group["method"]))
        every = len(own) > 1 and len(own) == methods[dataset, metric]
        whose = "" if every else f" ({', '.join(own)})"
        said.setdefault((str(note), whose), []).append(f"{dataset} {metric_name(str(metric))}")
    return [f"{', '.join(what)}{whose}: {note}." for (note, whose), what in said.items()]


def _agreements(table: pd.DataFrame, number: str) -> list[Grid]:
    """Return how far sources of labels agree: the ceiling of what can be predicted."""
    if table.empty:
        return []
    metrics = list(dict.fromkeys(table["metric"]))
    header = ["Atlas", "Data set", "Sources of labels", *map(metric_name, metrics)]
    header += ["Cells", "Types"]
    rows = []
    for keys, group in table.groupby(["atlas", "dataset", "method"], sort=False):
        cells = {str(row["metric"]): number_cell(row) for row in group.to_dict("records")}
        first = group.iloc[0]
        row = [*(Cell(str(key)) for key in keys), *(cells[metric] for metric in metrics)]
        rows.append([*row, Cell(str(first["n_cells"])), Cell(str(first["n_types"]))])
    return [Grid(f"Table {number}a, how far sources of labels agree", header, rows)]


def _part(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table[table["table"] == name]


def _by_protocol(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    if table.empty:
        return []
    return [(str(name), part) for name, part in table.groupby("protocol", sort=False)]


def _methods(
    table: pd.DataFrame, title: str, metrics: tuple[str, ...], layout: Layout, *, verdicts: bool
) -> Grid:
    """Return a row per method and a column per metric."""
    atlas = table["atlas"].nunique() > 1
    header = ["Atlas"] * atlas + ["Data set"] + ["Block"] * layout.has_blocks + ["Method"]
    header += [metric_name(metric) + arrow(metric) for metric in metrics]
    header += ["Verdict"] * verdicts + list(PROVENANCE.values())
    rows = []
    for _, group in table.groupby(METHOD_KEYS, sort=False):
        numbers = {str(row["metric"]): number_cell(row) for row in group.to_dict("records")}
        first = group.iloc[0]
        row = [Cell(str(first["atlas"]))] * atlas + [Cell(str(first["dataset"]))]
        row += [Cell(str(first["block"]))] * layout.has_blocks
        row += [Cell(method_name(str(first["method"])))]
        row += [numbers.get(metric, Cell("", reason=NOT_SCORED)) for metric in metrics]
        row += [_verdicts(group)] * verdicts
        rows.append(row + [_provenance(name, first[name]) for name in PROVENANCE])
    return Grid(title, header, rows)


def _provenance(name: str, value: Any) -> Cell:
    text = str(value)
    if name == "input_hash":
        if not text:
            return Cell("", reason="this protocol has no split here")
        return Cell(" ".join(part[:HASH_LENGTH] for part in text.split(",")))
    if name == "n_donors" and text == "0":
        return Cell("unknown")
    if name.startswith("n_") and text.isdigit():
        return Cell(f"{int(text):,}")
    return Cell(text.replace(",", ", "))


def number_cell(row: Mapping[Hashable, Any]) -> Cell:
    """Return a number with deviation, interval and printed number; or why there is none."""
    value, deviation, low, high, printed = (
        float(row[name]) for name in ("value", "deviation", "low", "high", "printed")
    )
    theirs = [] if math.isnan(printed) else [f"paper {printed:.4f}"]
    if math.isnan(value):
        return Cell("", tuple(theirs), reason=str(row["note"]) or "no reason was left")
    if theirs:
        theirs[0] += f" ({value - printed:+.4f})"
    between = [] if math.isnan(low) or math.isnan(high) else [f"{low:.4f} to {high:.4f}"]
    text = f"{value:.4f}" + ("" if math.isnan(deviation) else f" ± {deviation:.4f}")
    return Cell(text, (*between, *theirs), bool(row["best"]))


def _verdicts(group: pd.DataFrame) -> Cell:
    printed = group[group["verdict"] != NOT_PRINTED]
    counts = (group if printed.empty else printed)["verdict"].value_counts(sort=False)
    if len(counts) == 1:
        return Cell(str(counts.index[0]))
    return Cell(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))


def _groups(table: pd.DataFrame, title: str, protocol: str) -> list[Grid]:
    """Return for each metric of groups a row per group and a column per method."""
    grids = []
    split = table["metric"].str.partition(BETWEEN)
    for metric, part in table.assign(base=split[0], group=split[2]).groupby("base", sort=False):
        methods = list(dict.fromkeys(part["method"]))
        header = ["Atlas", "Data set", "Group", "Test cells"]
        header += [method_name(method) for method in methods]
        rows = []
        for keys, own in part.groupby(["atlas", "dataset", "group"], sort=False):
            cells = {str(row["method"]): number_cell(row) for row in own.to_dict("records")}
            names = [str(keys[0]), str(keys[1]), group_name(str(keys[2]))]
            row = [*map(Cell, names), Cell(str(own["n_cells"].iloc[0]))]
            row += [cells.get(method, Cell("", reason=NOT_SCORED)) for method in methods]
            rows.append(row)
        name = f"{metric_name(str(metric))}{arrow(str(metric))} by group"
        grids.append(Grid(f"{title}, {name}, protocol {protocol}", header, rows))
    return grids


def _losses(table: pd.DataFrame, title: str) -> Grid:
    """Return a row per ablation: full minus ablated, beside the printed difference."""
    metrics = list(dict.fromkeys(table["metric"]))
    header = ["Atlas", "Data set", "Model", *map(metric_name, metrics), "Seeds"]
    rows = []
    for keys, group in table.groupby(["atlas", "dataset", "method"], sort=False):
        cells = {str(row["metric"]): _loss(row) for row in group.to_dict("records")}
        names = [*map(str, keys[:2]), method_name(str(keys[2]))]
        row = [Cell(name) for name in names]
        row += [cells.get(metric, Cell("", reason=NOT_SCORED)) for metric in metrics]
        rows.append([*row, Cell(str(group["seeds"].iloc[0]).replace(",", ", "))])
    return Grid(title, header, rows)


def _loss(row: Mapping[Hashable, Any]) -> Cell:
    value, deviation, printed = (float(row[name]) for name in ("value", "deviation", "printed"))
    if math.isnan(value):
        return Cell("", reason=str(row["note"]) or "one of both models has no number")
    text = f"{value:+.4f}" + ("" if math.isnan(deviation) else f" ± {deviation:.4f}")
    details = [] if math.isnan(printed) else [f"paper {printed:+.4f}"]
    if details and deviation > 0:
        details[0] += f", {abs(printed) / deviation:.1f} of our deviations"
    return Cell(text, tuple(details))


def lay_out_settings(table: pd.DataFrame) -> Page:
    """Return `settings.settings_table` for reading."""
    columns = ["section", "parameter", "value", "printed", "verdict"]
    rows = [[Cell(str(value)) for value in row] for row in table[columns].itertuples(index=False)]
    header = ["Section", "Parameter", "Value", "Printed", "Verdict"]
    remarks = ["Settings without a printed value are not in the paper's table."]
    grid = Grid("", header, rows)
    return Page("Table 5. Model and training settings", [grid], remarks)
