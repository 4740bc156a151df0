"""How the loss fell, epoch by epoch, in pretraining and in each fine-tuning."""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from epifoundation.reporting.figures import PALETTE, Panel, text_panel, write_figure

LINES = {"loss": "training cells", "validation_loss": "validation cells"}
PANELS_PER_ROW = 3


def read_history(model: Path | str) -> pd.DataFrame:
    """Return the record of each epoch of a model directory, a row each; none if not trained."""
    text = Path(model, "history.jsonl").read_text()
    return pd.DataFrame([json.loads(line) for line in text.splitlines()])


def write_training_figure(models: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    """Write the curves of each named model directory to the paths `pdf` and `png`."""
    histories = {name: read_history(folder) for name, folder in models.items()}
    trained = {name: history for name, history in histories.items() if len(history)}
    panel = curves_panel(trained) if trained else text_panel("No model was trained.")
    write_figure([panel], outputs["pdf"], outputs["png"])


def curves_panel(histories: Mapping[str, pd.DataFrame]) -> Panel:
    """Return losses by epoch, axes for each model; a dot marks the epoch that was kept."""
    n_rows = -(-len(histories) // PANELS_PER_ROW)

    def draw(panel: FigureBase) -> None:
        axes = panel.subplots(n_rows, PANELS_PER_ROW, squeeze=False).ravel()
        for ax, (name, history) in zip(axes, histories.items(), strict=False):
            for (column, label), colour in zip(LINES.items(), PALETTE, strict=False):
                ax.plot(history["epoch"], history[column], label=label, color=colour, lw=1)
            kept = history.iloc[int(history["validation_loss"].argmin())]
            ax.plot(kept["epoch"], kept["validation_loss"], "o", ms=3, color=PALETTE[1])
            ax.set(title=textwrap.fill(name, 34), xlabel="epoch", ylabel="loss")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].legend(frameon=False, fontsize=6)
        for ax in axes[len(histories) :]:
            ax.axis("off")

    return Panel(7.2, 1.9 * n_rows, draw)
