"""Figures 1, 3, 4, 5 and 6 of the paper: UMAPs of embeddings, heat-maps of scores.

Deterministic: seeded layouts, fixed colours by name, no dates in the files.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath

from epifoundation.evaluation.annotation import SCORE_PREFIX
from epifoundation.files import whole

# Okabe and Ito's colours, which people with any colour vision tell apart; grey for their black,
# which has no shades
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#666666")
SHADES = (0.0, 0.45, -0.4, 0.7)  # towards white (+) or black (-)
MARKERS = "osD^vPX*"  # a second sign beside colour where colours repeat
SEED = 0
FONT: dict[Any, Any] = {
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.linewidth": 0.5,
    "pdf.fonttype": 42,
    "image.cmap": "viridis",
}
DPI = 300
WIDTH = 7.2  # inches, of a page's text
LEGEND_POINTS = 6
METHODS_PER_ROW = 6
INCHES_PER_ROW = 0.13  # of a heat-map

Points = npt.NDArray[np.float32]


def umap_layout(embedding: npt.NDArray[np.floating]) -> Points:
    """Return (n_cells, 2) UMAP coordinates; the same for the same embedding."""
    from sklearn.decomposition import PCA
    from umap import UMAP

    n_cells = len(embedding)
    if n_cells < 5:
        return np.asarray(PCA(2, svd_solver="full").fit_transform(embedding), dtype=np.float32)
    reducer = UMAP(
        n_neighbors=min(15, n_cells - 1), min_dist=0.3, random_state=SEED, n_jobs=1, init="pca"
    )
    return np.asarray(reducer.fit_transform(embedding), dtype=np.float32)


def names_of(values: pd.Series) -> list[str]:
    """Return the values that occur, sorted."""
    return sorted(str(value) for value in values.unique())


def colours_of(names: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """Return a colour for each name, by its place."""
    return {name: _colour(place) for place, name in enumerate(names)}


def _colour(place: int) -> tuple[float, float, float]:
    shade = SHADES[place // len(PALETTE) % len(SHADES)]
    base = np.asarray(to_rgb(PALETTE[place % len(PALETTE)]))
    target = 1.0 if shade > 0 else 0.0
    red, green, blue = base + (target - base) * abs(shade)
    return float(red), float(green), float(blue)


def scatter(axes: Axes, points: Points, values: pd.Series, title: str) -> None:
    """Draw cells coloured (and, beyond eight values, marked) by value; rasterised in the PDF."""
    names = names_of(values)
    colours = colours_of(names)
    shuffled = np.random.default_rng(SEED).permutation(len(points))  # no value always on top
    marker_of = {name: MARKERS[i // len(PALETTE) % len(MARKERS)] for i, name in enumerate(names)}
    size = float(np.clip(2500 / max(len(points), 1), 0.3, 8))
    texts = values.astype(str).to_numpy()[shuffled]
    for marker in dict.fromkeys(marker_of.values()):
        own = np.array([marker_of[text] == marker for text in texts])
        axes.scatter(
            points[shuffled][own, 0],
            points[shuffled][own, 1],
            c=[colours[text] for text in texts[own]],
            s=size,
            marker=marker,
            linewidths=0,
            rasterized=True,
        )
    axes.set(xticks=[], yticks=[], title=title)
    axes.set_box_aspect(1)


def legend(axes: Axes, names: Sequence[str], title: str) -> None:
    """Fill empty axes of `legend_height` with a legend of the names, in columns."""
    axes.axis("off")
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            color=_colour(place),
            markersize=4,
            marker=MARKERS[place // len(PALETTE) % len(MARKERS)],
        )
        for place, _ in enumerate(names)
    ]
    drawn = axes.legend(
        handles,
        names,
        title=title,
        loc="upper left",
        frameon=False,
        fontsize=LEGEND_POINTS,
        title_fontsize=7,
        alignment="left",
        borderaxespad=0,
        borderpad=0,
        labelspacing=0.3,
        handlelength=1,
        handletextpad=0.3,
        columnspacing=1,
        ncols=_legend_columns(names),
    )
    drawn.set_in_layout(False)  # the axes have the room it needs


def legend_height(names: Sequence[str]) -> float:
    """Return the inches that a legend of the names takes over the width of a figure."""
    return 0.25 + 0.125 * -(-len(names) // _legend_columns(names))


def _legend_columns(names: Sequence[str]) -> int:
    points = [TextPath((0, 0), name, size=LEGEND_POINTS).get_extents().width for name in names]
    column = max(points, default=0) / 72 + 0.3
    return max(1, min(int((WIDTH - 0.3) / column), len(names)))


@dataclass(frozen=True)
class Panel:
    """Part of a figure over its whole width: inches, and how to draw it."""

    width: float
    height: float
    draw: Callable[[FigureBase], None]


def atlas_panel(embedding: npt.NDArray[np.floating], cells: pd.DataFrame, title: str) -> Panel:
    """Return Figure 1: all cells of an atlas by tissue and by type."""
    names = {column: names_of(cells[column]) for column in ("tissue", "cell_type")}
    heights = [3.4, *map(legend_height, names.values())]

    def draw(panel: FigureBase) -> None:
        points = umap_layout(embedding)
        grid = panel.add_gridspec(3, 2, height_ratios=heights)
        columns = (("tissue", "(a) Tissue", "Tissue"), ("cell_type", "(b) Cell type", "Cell type"))
        for place, (column, name, heading) in enumerate(columns):
            scatter(panel.add_subplot(grid[0, place]), points, cells[column], name)
            legend(panel.add_subplot(grid[1 + place, :]), names[column], heading)
        panel.suptitle(title, fontsize=9)

    return Panel(WIDTH, sum(heights) + 0.4, draw)


def method_panel(
    embeddings: Mapping[str, npt.NDArray[np.floating] | str], cells: pd.DataFrame, title: str
) -> Panel:
    """Return Figure 4 or 5 of a data set: a column per method, by type above, by batch below.

    Parameters
    ----------
    embeddings
        By the method's name: rows in the order of `cells`, or why there is none.
    """
    names = {column: names_of(cells[column]) for column in ("cell_type", "batch")}
    n_columns = min(max(len(embeddings), 1), METHODS_PER_ROW)
    n_lines = -(-len(embeddings) // n_columns)
    heights = [1.4, 1.2] * n_lines + [legend_height(each) for each in names.values()]

    def draw(panel: FigureBase) -> None:
        grid = panel.add_gridspec(len(heights), n_columns, height_ratios=heights)
        for place, (method, embedding) in enumerate(embeddings.items()):
            line, column = divmod(place, n_columns)
            above, below = (panel.add_subplot(grid[2 * line + half, column]) for half in (0, 1))
            method_title = textwrap.fill(method, 18)
            if isinstance(embedding, str):
                say(above, textwrap.fill(embedding, 22), method_title)
                below.axis("off")
                continue
            points = umap_layout(embedding)
            scatter(above, points, cells["cell_type"], method_title)
            scatter(below, points, cells["batch"], "")
        legend(panel.add_subplot(grid[-2, :]), names["cell_type"], "Cell type, upper row")
        legend(panel.add_subplot(grid[-1, :]), names["batch"], "Batch, lower row")
        panel.suptitle(title, fontsize=9)

    return Panel(WIDTH, sum(heights) + 0.4, draw)


def heatmap_panel(predictions: pd.DataFrame, truth: pd.Series, title: str) -> Panel:
    """Return Figure 3 or 6 of a data set: predicted type × test cells, softmax scores.

    Cells are sorted by true type, whose colour runs above them and stands before the row of that
    type, then by the score of that type.
    """
    present = names_of(truth)
    columns = [str(name) for name in predictions if str(name).startswith(SCORE_PREFIX)]
    known = [name.removeprefix(SCORE_PREFIX) for name in columns]
    rows = [name for name in present if name in known] + sorted(set(known) - set(present))
    scores = predictions[[SCORE_PREFIX + name for name in rows]].to_numpy(dtype=float)
    unlearned = [name for name in present if name not in known]  # a colour, but no scores
    types = truth.astype(str).to_numpy()
    place = pd.Index(rows).get_indexer(pd.Index(types))
    own = np.where(place >= 0, scores[np.arange(len(types)), place], 0)
    order = np.lexsort((-own, types))
    shown = [*scores[order].T, *np.full((len(unlearned), len(types)), np.nan)]
    names = rows + [f"{name} (not learned)" for name in unlearned]

    def draw(panel: FigureBase) -> None:
        heights = [0.12, INCHES_PER_ROW * len(names), 0.1]
        grid = panel.add_gridspec(3, 2, height_ratios=heights, width_ratios=[1, 50])
        places = ((0, 1), (1, 1), (1, 0), (2, 1))
        bar, heat, key, scale = (panel.add_subplot(grid[at]) for at in places)
        colours = colours_of(present)
        bar.imshow(np.array([[colours[name] for name in types[order]]]), aspect="auto")
        bar.set(xticks=[], yticks=[], title=f"{len(types):,} test cells by true type")
        image = heat.imshow(np.array(shown), aspect="auto", vmin=0, vmax=1, interpolation="nearest")
        heat.set(xticks=[], yticks=[])
        for edge in np.flatnonzero(types[order][1:] != types[order][:-1]) + 0.5:
            heat.axvline(edge, color="white", linewidth=0.3)
        white = (1.0, 1.0, 1.0)
        key.imshow([[colours.get(name, white)] for name in rows + unlearned], aspect="auto")
        key.set(xticks=[], ylabel="Predicted type")
        key.set_yticks(range(len(names)), names)
        key.tick_params(axis="y", labelsize=6, length=0)
        label = "Softmax score"
        panel.colorbar(image, cax=scale, orientation="horizontal", label=label)
        panel.suptitle(title, fontsize=9)

    return Panel(WIDTH, 1.5 + INCHES_PER_ROW * len(names), draw)


def text_panel(text: str) -> Panel:
    """Return a panel that only says something."""

    def draw(panel: FigureBase) -> None:
        say(panel.subplots(), text, "")

    return Panel(6, 1.5, draw)


def say(axes: Axes, text: str, title: str) -> None:
    """Write a text where a picture would be."""
    axes.set(xticks=[], yticks=[], title=title)
    axes.text(0.5, 0.5, textwrap.fill(text, 30), ha="center", va="center", fontsize=6)


def write_figure(panels: Sequence[Panel], pdf: Path | str, png: Path | str) -> None:
    """Write the panels below one another, as PDF and PNG, without dates."""
    with mpl.rc_context(FONT):
        figure = figure_of(panels)
        with whole(pdf) as partial:
            dateless: dict[str, Any] = {"CreationDate": None, "ModDate": None}
            figure.savefig(partial, format="pdf", dpi=DPI, metadata=dateless)
        with whole(png) as partial:
            figure.savefig(partial, format="png", dpi=DPI)


def figure_of(panels: Sequence[Panel]) -> Figure:
    """Return the panels below one another."""
    size = max(panel.width for panel in panels), sum(panel.height for panel in panels)
    figure = Figure(figsize=size, layout="constrained")
    heights = [panel.height for panel in panels]
    parts = figure.subfigures(len(panels), 1, squeeze=False, height_ratios=heights)
    for panel, (part,) in zip(panels, parts, strict=True):
        panel.draw(part)
    return figure
