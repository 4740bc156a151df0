"""Figures of the metrics: what each ablation changes, and how methods rank."""

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from epifoundation.reporting.figures import PALETTE, Panel, text_panel, write_figure
from epifoundation.reporting.layouts import LAYOUTS, PAPER_PROTOCOL, UNRANKED, Layout
from epifoundation.reporting.names import METHOD_NAMES, arrow, direction, method_name, metric_name
from epifoundation.reporting.tables import result_table

ABLATION = LAYOUTS[4]
BARS_PER_ROW = 4
NO_ABLATION = "No data set of this atlas has ablated models."
NO_METRICS = "No method was scored on this atlas."


def write_ablation_figure(metrics: pd.DataFrame, outputs: Mapping[str, str]) -> None:
    """Write a panel per data set and protocol with ablated models; metrics of one atlas."""
    table = result_table(metrics, ABLATION, comparable=False)
    table = table[table["table"].isin([f"{ABLATION.number}", f"{ABLATION.number}b"])]
    panels = [
        ablation_panel(part, f"{dataset}, protocol {protocol}")
        for (dataset, protocol), part in table.groupby(["dataset", "protocol"], sort=False)
        if part["value"].notna().any()
    ]
    write_figure(panels or [text_panel(NO_ABLATION)], outputs["pdf"], outputs["png"])


def ablation_panel(table: pd.DataFrame, title: str) -> Panel:
    """Return axes for each metric with a bar for each model, the paper's number as a diamond.

    Parameters
    ----------
    table
        Rows of `tables.result_table` of one data set and protocol.
    """
    table = table[table["value"].notna()]
    metrics = list(dict.fromkeys(table["metric"]))
    methods = sorted(set(table["method"]), key=_place)
    colours = dict(zip(methods, PALETTE * len(methods), strict=False))
    n_rows = -(-len(metrics) // BARS_PER_ROW)
    names = [textwrap.fill(method_name(method), 26) for method in methods]
    height = max(1.1, 0.27 * len(methods) + 0.6)

    def draw(panel: FigureBase) -> None:
        n_columns = min(BARS_PER_ROW, len(metrics))
        axes = panel.subplots(n_rows, n_columns, squeeze=False, sharey=True)
        for ax, metric in zip(axes.ravel(), metrics, strict=False):
            own = table[table["metric"] == metric].set_index("method").reindex(methods)
            _bars(ax, own, [colours[method] for method in methods])
            ax.set_title(metric_name(metric) + arrow(metric))
        for ax in axes.ravel()[len(metrics) :]:
            ax.axis("off")
        for ax in axes[:, 0]:
            ax.set_yticks(range(len(methods)), names)
        axes[0, 0].invert_yaxis()  # shared: the first model on top
        panel.suptitle(title, fontsize=9)
        panel.supxlabel(
            "line: 95 % interval over test cells; points: ± deviation over seeds;"
            " diamond: the paper's number",
            fontsize=6,
        )

    return Panel(7.2, 0.5 + height * n_rows, draw)


def _bars(ax: Axes, table: pd.DataFrame, colours: list[str]) -> None:
    places = np.arange(len(table))
    value = table["value"].to_numpy(dtype=float)
    ax.barh(places, value, color=colours, height=0.7)
    low, high = (table[name].to_numpy(dtype=float) for name in ("low", "high"))
    ax.hlines(places, low, high, color="black", linewidth=0.8)
    for sign in (-1, 1):
        ax.plot(value + sign * table["deviation"].to_numpy(dtype=float), places, "k.", markersize=3)
    ax.plot(
        table["printed"].to_numpy(dtype=float),
        places,
        "D",
        markersize=4,
        markerfacecolor="white",
        markeredgecolor="black",
        markeredgewidth=0.7,
    )
    ax.axvline(0, color="black", linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)


def write_rank_figure(metrics: pd.DataFrame, outputs: Mapping[str, str]) -> None:
    """Write the mean rank of each method by metric, a panel per task; metrics of one atlas."""
    panels = []
    for layout in (LAYOUTS[1], LAYOUTS[2], LAYOUTS[3]):
        ranks = mean_ranks(metrics, layout)
        if len(ranks):
            panels.append(rank_panel(ranks, f"{layout.title}, protocol {PAPER_PROTOCOL}"))
    write_figure(panels or [text_panel(NO_METRICS)], outputs["pdf"], outputs["png"])


def mean_ranks(metrics: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Return methods × the paper's metrics: the rank over all methods, averaged over data sets.

    Under the paper's protocol; 1 is best, equals share a rank, a method without a number has none.
    Sorted by the mean over metrics.
    """
    chosen = metrics[
        (metrics["task"] == layout.task)
        & metrics["metric"].isin(layout.metrics)
        & (metrics["protocol"] == PAPER_PROTOCOL)
        & ~metrics["method"].isin(UNRANKED)
        & metrics["value"].notna()
    ]
    keys = ["dataset", "metric"]
    values = chosen.groupby([*keys, "method"], sort=False)["value"].mean().reset_index()
    values["better"] = values["value"] * values["metric"].map(direction)
    values["rank"] = values.groupby(keys)["better"].rank(ascending=False)
    ranks = values.pivot_table(index="method", columns="metric", values="rank", aggfunc="mean")
    ranks = ranks.reindex(columns=[name for name in layout.metrics if name in ranks])
    order = sorted(ranks.index, key=lambda method: (ranks.loc[method].mean(), _place(str(method))))
    return ranks.loc[order]


def rank_panel(ranks: pd.DataFrame, title: str) -> Panel:
    """Return methods × metrics as a heat-map with the mean rank in each cell, the mean last."""
    shown = ranks.assign(mean=ranks.mean(axis=1))
    numbers = shown.to_numpy(dtype=float)
    names = [method_name(str(method)) for method in shown.index]

    def draw(panel: FigureBase) -> None:
        ax = panel.subplots()
        ax.imshow(numbers, aspect="auto", cmap="cividis_r", vmin=1, vmax=max(len(shown), 2))
        columns = [textwrap.fill(metric_name(str(name)), 9) for name in ranks.columns]
        ax.set_xticks(range(numbers.shape[1]), [*columns, "mean"])
        ax.set_yticks(range(len(names)), names)
        ax.tick_params(length=0)
        ax.axvline(numbers.shape[1] - 1.5, color="white", linewidth=2)
        middle = (1 + max(len(shown), 2)) / 2
        for row, column in zip(*np.nonzero(~np.isnan(numbers)), strict=True):
            number = numbers[row, column]
            ink = "white" if number > middle else "black"
            ax.text(column, row, f"{number:.1f}", ha="center", va="center", color=ink, fontsize=6)
        ax.set_title(f"{title}: mean rank over data sets, 1 is best")

    return Panel(7.2, 0.9 + 0.22 * len(shown), draw)


def _place(method: str) -> tuple[int, str]:
    names = list(METHOD_NAMES)
    return (names.index(method) if method in names else len(names)), method
