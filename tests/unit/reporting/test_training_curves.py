"""The figure of losses by epoch."""

import json
from pathlib import Path

from matplotlib.figure import Figure

from epifoundation.reporting.curves import curves_panel, read_history, write_training_figure

HISTORY = [
    {"epoch": epoch, "loss": loss, "validation_loss": loss + 0.1 * (epoch - 2) ** 2}
    for epoch, loss in enumerate((0.7, 0.6, 0.5), start=1)
]


def model_directory(folder, history):
    folder.mkdir()
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history))
    return str(folder)


def test_curves_are_the_records_and_the_kept_epoch_is_marked(tmp_path):
    history = read_history(model_directory(tmp_path / "model", HISTORY))
    figure = Figure()
    curves_panel({"pretraining": history}).draw(figure)
    training, validation, kept = figure.axes[0].lines
    assert list(training.get_ydata()) == [0.7, 0.6, 0.5]
    assert list(validation.get_xdata()) == [1, 2, 3]
    assert (kept.get_xdata()[0], kept.get_ydata()[0]) == (2, 0.6)


def test_both_formats_are_written_and_the_same_again(tmp_path):
    models = {
        f"model {i}": model_directory(tmp_path / str(i), HISTORY if i else []) for i in range(5)
    }
    outputs = {suffix: str(tmp_path / f"curves.{suffix}") for suffix in ("pdf", "png")}
    write_training_figure(models, outputs)
    first = [Path(path).read_bytes() for path in outputs.values()]
    write_training_figure(models, outputs)
    assert first == [Path(path).read_bytes() for path in outputs.values()]
    assert first[0].startswith(b"%PDF")


def test_nothing_trained_is_said(tmp_path):
    outputs = {suffix: str(tmp_path / f"curves.{suffix}") for suffix in ("pdf", "png")}
    write_training_figure({"none": model_directory(tmp_path / "none", [])}, outputs)
    assert (tmp_path / "curves.png").stat().st_size > 1000
