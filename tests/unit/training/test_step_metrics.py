"""Figures told while training goes on."""

import json
import re
import time

import pytest
import torch

from epifoundation.training import loop
from epifoundation.training.dataset import CellDataset
from epifoundation.training.loop import train
from epifoundation.training.metrics import StepLog, figures, peak_flops, training_flops


def test_arithmetic_is_that_of_the_printed_sizes(run_of):
    """6 blocks of 512, 1.43 TFLOP a cell in training at a mean of 5,186 peaks: by hand, one cell.

    25.2 MFLOP a token and 4 L d attention a token and block, the last block for [CLS] alone.
    """
    run = run_of()
    sizes = {"d_model": 512, "d_feedforward": 1024, "n_layers": 6}
    config = run.network.config.model_copy(update=sizes)
    minibatch = run.training.read(run.training.rows[:1])
    length = minibatch.cells.n_tokens
    token = 2 * (4 * 512**2 + 2 * 512 * 1024)  # of a block
    five = 5 * (length * token + 4 * 512 * length**2)
    last = length * (2 * 2 * 512**2 + 4 * 512) + 2 * (2 * 512**2 + 2 * 512 * 1024)
    genes = minibatch.genes.n_pairs * 2 * 128 * (512 + 128)
    assert 6 * token == pytest.approx(25.2e6, rel=2e-3)
    assert training_flops(config, minibatch) == pytest.approx(3 * (five + last + genes))


def test_rates_are_of_all_time_and_accuracy_only_where_it_is():
    sums = {
        "loss": 30.0,
        "examples": 20,
        "gradient_norm": 6.0,
        "updates": 3,
        "seconds": 4.0,
        "waited": 0.1,
        "cells": 8,
        "tokens": 800,
        "flops": 1e9,
    }
    told = figures(sums, torch.device("cpu"), 1)
    assert (told["loss"], told["gradient_norm"], told["loader_wait"]) == (1.5, 2.0, 0.025)
    assert (told["cells_per_second"], told["tokens_per_second"]) == (2.0, 200.0)
    assert not {"accuracy", "mfu"} & set(told)
    assert figures(sums | {"correct": 5}, torch.device("cpu"), 1)["accuracy"] == 0.25


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_utilisation_is_of_what_all_devices_could_do(monkeypatch, name, expected):
    """Half of what two cards do in a second, in one second; none of a card that is not known."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 3 * 2**30)
    assert peak_flops(torch.device("cuda", 0)) == expected
    sums = dict.fromkeys(("loss", "examples", "gradient_norm", "updates", "waited"), 1.0)
    sums |= {"cells": 8, "tokens": 800, "seconds": 2.0, "flops": 2.0 * (expected or 0)}
    told = figures(sums, torch.device("cuda", 0), 2)
    assert told.get("mfu") == (None if expected is None else 0.5)
    assert told["peak_memory_gib"] == 3.0
    assert peak_flops(torch.device("cpu")) is None


def test_the_wait_for_cells_is_told_by_step_and_at_the_end(run_of, tmp_path, monkeypatch, caplog):
    """One or two minibatches an update, read as they are needed, a fortieth of a second each."""
    real = CellDataset.read

    def slow(self, rows, epoch=0):
        time.sleep(0.025)
        return real(self, rows, epoch)

    monkeypatch.setattr(CellDataset, "read", slow)
    caplog.set_level("INFO")
    history = train(run_of(folder=tmp_path / "run"))
    text = (tmp_path / "run" / "steps.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    shares = [line["loader_wait"] for line in lines if "loss" in line]
    assert len(shares) == 8
    updates = [line for line in lines if "loss" in line]
    assert all(line["loader_wait"] * line["seconds"] > 0.025 for line in updates)
    assert all(share < 1 for share in [*shares, history[0]["loader_wait"]])
    told = re.search(r"trained: 8 updates in \d+ s, ([\d.]+) % of that waiting for", caplog.text)
    assert min(shares) < float(told[1]) / 100 < max(shares)


def test_lines_after_the_checkpoint_are_taken_out(tmp_path):
    lines = ['{"step": 1}', '{"step": 2}', '{"step": 3}', '{"ste']
    (tmp_path / "steps.jsonl").write_text("\n".join(lines))
    log = StepLog(tmp_path, 2, validated=True, tensorboard=False)
    log.write({"step": 3, "loss": 0.5})
    steps = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert steps == [{"step": 1}, {"step": 2}, {"step": 3, "loss": 0.5}]


def test_a_full_disk_is_told_once_and_training_goes_on(run_of, tmp_path, monkeypatch, caplog):
    begun = StepLog.__post_init__

    def on_a_full_disk(self):
        begun(self)
        (self.folder / "steps.jsonl").unlink()
        (self.folder / "steps.jsonl").symlink_to("/dev/full")

    monkeypatch.setattr(StepLog, "__post_init__", on_a_full_disk)
    assert len(train(run_of(folder=tmp_path / "run"))) == 2
    told = [record.getMessage() for record in caplog.records if "metrics" in record.msg]
    assert len(told) == 1
    assert (
        f"{tmp_path / 'run'}: metrics of steps cannot be written (No space left on device)"
        in told[0]
    )


class FullBoard:
    def add_scalar(self, *_):
        raise OSError(28, "No space left on device")

    close = add_scalar


def test_a_full_disk_of_tensorboard_ends_nothing_either(tmp_path, caplog):
    log = StepLog(tmp_path, 0, validated=True, tensorboard=False)
    log.writer = FullBoard()
    log.write({"step": 1})
    log.write({"step": 2})
    log.close()
    assert (tmp_path / "steps.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'
    assert caplog.text.count("No space left") == 1


def test_a_line_every_so_many_updates(run_of, tmp_path):
    run = run_of(folder=tmp_path / "run", execution={"log_every_updates": 3})
    train(run)
    text = (tmp_path / "run" / "steps.jsonl").read_text()
    steps = [json.loads(line) for line in text.splitlines()]
    assert [line["step"] for line in steps if "loss" in line] == [3, 6]
    assert [line["step"] for line in steps if "validation_loss" in line] == [4, 8]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard.*")
def test_tensorboard_reads_the_same(run_of, tmp_path, monkeypatch):
    """Of a training that fails in its sixth update, two after a checkpoint, and goes on."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    real, updates = loop.update, []

    def failing(*args, **options):
        updates.append(1)
        if len(updates) == 6:
            raise RuntimeError
        return real(*args, **options)

    monkeypatch.setattr(loop, "update", failing)
    options = {"tensorboard": True, "checkpoint_updates": 4}
    with pytest.raises(RuntimeError):
        train(run_of(folder=tmp_path / "run", execution=options))
    train(run_of(folder=tmp_path / "run", execution=options))
    text = (tmp_path / "run" / "steps.jsonl").read_text()
    losses = [line["loss"] for line in map(json.loads, text.splitlines()) if "loss" in line]
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 9))
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(losses, rel=1e-6)
