"""A run that is stopped, killed or damaged goes on, and ends as if nothing had been."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import training_runs
from safetensors.torch import load_file, save_file

from epifoundation.errors import ModelError
from epifoundation.training import checkpoint, loop
from epifoundation.training.loop import train, use_threads

EACH_UPDATE = {"checkpoint_updates": 1}


def same(run, other: dict[str, torch.Tensor]) -> bool:
    own = run.network.state_dict()
    return all(torch.equal(own[name], other[name]) for name in own)


@pytest.fixture
def interrupted(run_of, monkeypatch):
    """Return a function that trains until a signal comes during the given update."""

    def train_until(n_updates: int, folder: Path, sign=signal.SIGTERM, **execution) -> None:
        real, updates = loop.update, []

        def signalled(*args, **options):
            updates.append(1)
            if len(updates) == n_updates:
                os.kill(os.getpid(), sign)
            return real(*args, **options)

        monkeypatch.setattr(loop, "update", signalled)
        with pytest.raises(SystemExit) as stopped:
            train(run_of(folder=folder, execution=execution))
        assert stopped.value.code == 0
        monkeypatch.setattr(loop, "update", real)

    return train_until


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_the_next_run_changes_nothing(run_of, tmp_path, interrupted, sign):
    whole_run, folder = run_of(), tmp_path / "run"
    history = train(whole_run)
    interrupted(5, folder, sign)
    state = json.loads((folder / "step-000000005" / "state.json").read_text())["state"]
    assert (state["epoch"], state["update"]) == (1, 1)
    resumed_run = run_of(folder=folder, execution={"n_workers": 2})
    resumed = train(resumed_run)
    for name in ("loss", "validation_loss", "gradient_norm", "learning_rate"):
        assert [r[name] for r in resumed] == [r[name] for r in history], name
    assert same(resumed_run, whole_run.network.state_dict())
    steps = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if "loss" in line] == list(range(1, 9))


def test_a_finished_run_is_kept_until_its_model_is_saved(run_of, tmp_path):
    folder = tmp_path / "run"
    first = run_of(folder=folder)
    train(first)
    again = run_of(folder=folder)
    assert len(train(again)) == 2
    assert same(again, first.network.state_dict())
    with loop.resumable(folder, 1):
        pass
    assert [path.name for path in folder.iterdir()] == ["steps.jsonl"]


def test_the_latest_are_kept(run_of, tmp_path):
    folder = tmp_path / "run"
    (folder / ".partial-elsewhere-1-step-000000003").mkdir(parents=True)  # left by a kill
    train(run_of(folder=folder, execution=EACH_UPDATE | {"keep_checkpoints": 3}))
    kept = [f"step-00000000{step}" for step in (6, 7, 8)]
    assert sorted(path.name for path in folder.iterdir()) == [*kept, "steps.jsonl"]


@pytest.mark.parametrize("name", ["network.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    run_of, tmp_path, interrupted, caplog, name, damage
):
    whole_run, folder = run_of(), tmp_path / "run"
    train(whole_run)
    interrupted(6, folder, **EACH_UPDATE)
    damaged = folder / "step-000000006" / name
    content = damaged.read_bytes()
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    damaged.write_bytes(content[:-20] if damage == "cut" else changed)
    caplog.set_level("INFO")
    resumed = run_of(folder=folder)
    train(resumed)
    assert "step-000000006 is damaged" in caplog.text
    assert "step-000000005: going on" in caplog.text
    assert same(resumed, whole_run.network.state_dict())


def test_checkpoint_of_other_settings_is_not_used(run_of, tmp_path, interrupted, caplog):
    folder = tmp_path / "run"
    interrupted(5, folder)
    caplog.set_level("INFO")
    other = {"config": {"learning_rate": 2e-3}}
    anew, fresh = run_of(folder=folder, **other), run_of(**other)
    train(anew)
    train(fresh)
    assert "other data or settings" in caplog.text
    assert same(anew, fresh.network.state_dict())


def test_a_full_disk_keeps_the_last_good(run_of, tmp_path, monkeypatch, caplog):
    folder, written = tmp_path / "run", []

    def full(tensors, path):
        written.append(path)
        if len(written) > 6:  # three files a checkpoint
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save_file(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(ModelError, match=r"No space left.*last good one is .*step-000000002"):
        train(run_of(folder=folder, execution=EACH_UPDATE))
    assert "Training goes on" in caplog.text
    assert sorted(path.name for path in folder.glob("step*0*")) == [
        "step-000000001",
        "step-000000002",
    ]
    assert not list(folder.glob(".partial*"))
    monkeypatch.undo()
    resumed, whole_run = run_of(folder=folder), run_of()
    train(resumed)
    train(whole_run)
    assert same(resumed, whole_run.network.state_dict())


@pytest.mark.slow
def test_ten_kill_ten_is_twenty(
    tiny_atlas, tiny_model, tiny_training, tiny_execution, run_of, tmp_path
):
    """A process killed with SIGKILL at a random moment after ten updates, then run again.

    It reads with two threads, goes on with one, and equals a run here that reads as it goes.
    """
    config = {"epochs": 5}  # twenty updates
    folder, settings = tmp_path / "run", tmp_path / "settings.json"
    command = [sys.executable, training_runs.__file__, settings]

    def set_workers(n_workers: int) -> None:
        training_runs.write_settings(
            settings,
            tiny_atlas,
            tiny_model,
            tiny_training.model_copy(update=config),
            tiny_execution.model_copy(update=EACH_UPDATE | {"n_workers": n_workers}),
            folder,
        )

    set_workers(2)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list(folder.glob("step-00000001?")) and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(random.random() * 0.1)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not Path(f"{folder}.safetensors").exists()
    set_workers(1)
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "going on at epoch" in finished.stderr
    whole_run = run_of(config=config)
    with use_threads(1):  # as the process; with another number of threads sums round otherwise
        history = train(whole_run)
    assert same(whole_run, load_file(f"{folder}.safetensors"))
    resumed = json.loads(Path(f"{folder}.history.json").read_text())
    assert [r["loss"] for r in resumed] == [r["loss"] for r in history]
    assert sum(r["updates"] for r in history) == 20
