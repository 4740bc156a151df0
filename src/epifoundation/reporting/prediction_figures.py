"""Figures of predictions: confusion of types, calibration of scores, expression of genes."""

import textwrap
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from scipy import sparse

from epifoundation.evaluation.annotation import SCORE_PREFIX
from epifoundation.reporting.figures import MARKERS, PALETTE, SEED, Panel, names_of, say

N_BINS = 10  # of confidence
DATASETS_PER_ROW = 4
GENES_PER_ROW = 6
JITTER = 0.25
INCHES_PER_TYPE = 0.14
Levels = npt.NDArray[np.floating]


def confusion_panel(predictions: pd.DataFrame, truth: pd.Series, title: str) -> Panel:
    """Return true type × predicted type: the share of the true type's cells, their number beside.

    Types that are predicted but never true have a column and no row.
    """
    types = names_of(truth)
    predicted = predictions["predicted_cell_type"].astype(str)
    columns = [*types, *sorted(set(predicted) - set(types))]
    counts = pd.crosstab(truth.astype(str).to_numpy(), predicted.to_numpy())
    counts = counts.reindex(index=types, columns=columns, fill_value=0)
    n_cells = counts.sum(axis=1)
    shares = counts.div(n_cells, axis=0).to_numpy()
    rows = [f"{name} ({n:,})" for name, n in n_cells.items()]
    longest = max(map(len, rows + columns))

    def draw(panel: FigureBase) -> None:
        ax = panel.subplots()
        image = ax.imshow(shares, vmin=0, vmax=1, cmap="cividis", aspect="equal")
        ax.set_xticks(range(len(columns)), columns, rotation=90, fontsize=6)
        ax.set_yticks(range(len(rows)), rows, fontsize=6)
        ax.tick_params(length=1)
        ax.set(xlabel="predicted type", ylabel="true type (test cells)")
        panel.colorbar(image, ax=ax, shrink=0.6, label="share of the true type's cells")
        panel.suptitle(title, fontsize=9)

    labels = 0.05 * longest + 0.5
    side = [INCHES_PER_TYPE * len(names) for names in (columns, rows)]
    return Panel(max(side[0] + labels + 1, 3.5), max(side[1] + labels + 0.4, 2.5), draw)


def calibration_of(predictions: pd.DataFrame, truth: pd.Series) -> tuple[pd.DataFrame, float]:
    """Return confidence and accuracy in bins of confidence, and the expected calibration error.

    Confidence is the score of the predicted type; bins are N_BINS of equal width, empty ones left
    out. The error is the mean of |accuracy - confidence| over cells.
    """
    columns = [name for name in predictions if str(name).startswith(SCORE_PREFIX)]
    confidence = predictions[columns].to_numpy(dtype=float).max(axis=1)
    right = (
        predictions["predicted_cell_type"].astype(str).to_numpy() == truth.astype(str).to_numpy()
    )
    place = np.clip((confidence * N_BINS).astype(int), 0, N_BINS - 1)
    table = pd.DataFrame({"bin": place, "confidence": confidence, "accuracy": right.astype(float)})
    groups = table.groupby("bin")
    bins = groups.mean().assign(n_cells=groups.size())
    gap = (bins["accuracy"] - bins["confidence"]).abs()
    return bins.reset_index(), float((gap * bins["n_cells"]).sum() / len(table))


def calibration_panel(
    datasets: Mapping[str, Mapping[str, pd.DataFrame | str]], truths: Mapping[str, pd.Series]
) -> Panel:
    """Return axes for each data set: how often the predicted type is right, by its score.

    Parameters
    ----------
    datasets
        By data set and method's name, predictions or why there are none.
    """
    n_rows = -(-len(datasets) // DATASETS_PER_ROW)

    def draw(panel: FigureBase) -> None:
        axes = panel.subplots(n_rows, DATASETS_PER_ROW, squeeze=False).ravel()
        for ax, (dataset, methods) in zip(axes, datasets.items(), strict=False):
            _reliability(ax, methods, truths[dataset])
            ax.set(title=dataset, xlabel="score of the predicted type", ylabel="share right")
        for ax in axes[len(datasets) :]:
            ax.axis("off")

    longest = max((len(methods) for methods in datasets.values()), default=0)
    return Panel(7.2, (2.1 + 0.22 * longest) * n_rows, draw)


def _reliability(ax: Axes, methods: Mapping[str, pd.DataFrame | str], truth: pd.Series) -> None:
    ax.plot([0, 1], [0, 1], color="#999999", linewidth=0.7, linestyle="--")
    for place, (method, predictions) in enumerate(methods.items()):
        colour, marker = PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
        if isinstance(predictions, str):
            ax.plot([], [], color=colour, marker=marker, ms=3, label=f"{method}:\nnone")
            continue
        bins, error = calibration_of(predictions, truth)
        label = f"{method},\nerror {error:.3f}"
        ax.plot(
            *(bins["confidence"], bins["accuracy"]),
            color=colour,
            linewidth=0.8,
            marker=marker,
            markersize=2,
            label=label,
        )
        size = 4 + 40 * bins["n_cells"] / bins["n_cells"].sum()
        ax.scatter(bins["confidence"], bins["accuracy"], s=size, color=colour, marker=marker)
    ax.set(xlim=(0, 1.02), ylim=(-0.02, 1.02))
    ax.set_box_aspect(1)
    ax.legend(frameon=False, fontsize=5.5, loc="upper center", bbox_to_anchor=(0.5, -0.4))


def varying_genes(target: sparse.csr_matrix, n_genes: int) -> list[int]:
    """Return the columns whose levels vary most between cells, the most varying first."""
    levels = target.astype(float)
    variance = levels.multiply(levels).mean(axis=0).A1 - np.square(levels.mean(axis=0).A1)
    order = np.argsort(-variance, kind="stable")
    return [int(column) for column in order[:n_genes]]


def genes_panel(target: Levels, levels: Levels | str, genes: list[str], title: str) -> Panel:
    """Return axes for each gene: predicted against true level of each test cell, means as a line.

    Parameters
    ----------
    target, levels
        (n_cells, n_genes) of the genes, true and predicted; or why there is no prediction.
    """
    n_rows = max(-(-len(genes) // GENES_PER_ROW), 1)
    limits = -0.5, max(float(target.max(initial=0)), 9) + 0.5

    def draw(panel: FigureBase) -> None:
        panel.suptitle(title, fontsize=9)
        if isinstance(levels, str):
            say(panel.subplots(), levels, "")
            return
        grid = panel.subplots(n_rows, GENES_PER_ROW, squeeze=False, sharey=True)
        axes = grid.ravel()
        moved = np.random.default_rng(SEED).uniform(-JITTER, JITTER, len(target))
        for column, (ax, gene) in enumerate(zip(axes, genes, strict=False)):
            true, predicted = target[:, column], levels[:, column]
            ax.scatter(
                true + moved, predicted, s=2, color=PALETTE[0], alpha=0.4, lw=0, rasterized=True
            )
            means = pd.Series(predicted).groupby(true).mean()
            ax.plot(means.index, means, color=PALETTE[3], marker="o", markersize=2, linewidth=1)
            ax.set_title(f"{textwrap.fill(gene, 16)}\n{_correlation(true, predicted)}", fontsize=7)
            ax.set(xlabel="true level", xlim=limits, ylim=limits)
            ax.set_box_aspect(1)
        for ax in grid[:, 0]:
            ax.set_ylabel("predicted level")
        for ax in axes[len(genes) :]:
            ax.axis("off")

    return Panel(7.2, 0.3 + 1.75 * n_rows, draw)


def _correlation(true: Levels, predicted: Levels) -> str:
    if np.ptp(true) == 0 or np.ptp(predicted) == 0:
        return "constant"
    return f"r = {np.corrcoef(true, predicted)[0, 1]:.2f}"
