"""A run that is stopped, killed or damaged goes on, and ends as if nothing had been."""

import errno
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import training_runs
from safetensors.torch import load_file

from epifoundation.errors import ModelError
from epifoundation.training import checkpoint, loop
from epifoundation.training.loop import train, use_threads

EACH_UPDATE = {"checkpoint_updates": 1}


def same(run, other: dict[str, torch.Tensor]) -> bool:
    own = run.network.state_dict()
    return all(torch.equal(own[name], other[name]) for name in own)


@pytest.fixture
def interrupted(run_of, monkeypatch, hears_interrupts):
    """Return a function that trains until a signal comes during the given update."""

    def train_until(n_updates: int, folder: Path, sign=signal.SIGTERM, **execution) -> None:
        real, updates = loop.update, []

        def signalled(*args, **options):
            updates.append(1)
            if len(updates) == n_updates:
                os.kill(os.getpid(), sign)
            return real(*args, **options)

        monkeypatch.setattr(loop, "update", signalled)
        expected = KeyboardInterrupt if sign == signal.SIGINT else SystemExit
        with pytest.raises(expected) as stopped:
            train(run_of(folder=folder, execution=execution))
        told = "asked to stop after update 5: all is saved in .*, and the same command goes on"
        assert sign != signal.SIGINT or re.match(told, str(stopped.value))
        assert sign == signal.SIGINT or stopped.value.code == 0
        monkeypatch.setattr(loop, "update", real)

    return train_until


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
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


TIMES = {"seconds", "cells_per_second", "tokens_per_second", "loader_wait", "peak_memory_gib"}


def logged(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line.keys() - TIMES} for line in lines]


@pytest.mark.parametrize("n_updates", [4, 5])
def test_step_metrics_of_a_resumed_run_are_those_of_one_that_was_not_stopped(
    run_of, tmp_path, interrupted, n_updates
):
    """A line each three updates; the fourth is an epoch's last, which is validated again."""
    options = {"log_every_updates": 3, "checkpoint_updates": 4}
    train(run_of(folder=tmp_path / "whole", execution=options))
    interrupted(n_updates, tmp_path / "run", **options)
    train(run_of(folder=tmp_path / "run", execution=options))
    whole = logged(tmp_path / "whole")
    assert logged(tmp_path / "run") == whole
    assert [line["step"] for line in whole] == [3, 4, 6, 8]


def test_a_validation_that_is_done_again_is_logged_once(run_of, tmp_path, monkeypatch):
    """Killed between an epoch's validation and the next checkpoint."""
    real, updates = loop.update, []

    def killed(*args, **options):
        updates.append(1)
        if len(updates) == 6:
            raise RuntimeError
        return real(*args, **options)

    monkeypatch.setattr(loop, "update", killed)
    options = {"execution": {"checkpoint_updates": 4}}
    with pytest.raises(RuntimeError):
        train(run_of(folder=tmp_path / "run", **options))
    assert [line["step"] for line in logged(tmp_path / "run")] == [1, 2, 3, 4, 4, 5]
    monkeypatch.undo()
    train(run_of(folder=tmp_path / "run", **options))
    train(run_of(folder=tmp_path / "whole", **options))
    assert logged(tmp_path / "run") == logged(tmp_path / "whole")


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


@pytest.mark.parametrize("name", [*checkpoint.WEIGHT_FILES, "state.json"])
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
    assert "step-000000005: going on in epoch 2 after update 1" in caplog.text
    assert same(resumed, whole_run.network.state_dict())


def test_where_all_are_damaged_training_begins_anew(run_of, tmp_path, interrupted, caplog):
    whole_run, folder = run_of(), tmp_path / "run"
    train(whole_run)
    interrupted(6, folder, **EACH_UPDATE)
    for path in folder.glob("step-*/state.json"):
        path.write_text("{")
    anew = run_of(folder=folder)
    train(anew)
    assert f"no checkpoint in {folder} can be read; training anew" in caplog.text
    assert same(anew, whole_run.network.state_dict())


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


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes, as on a disk without room."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def steps_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("step-*"))


def test_without_room_for_checkpoints_a_model_is_trained_all_the_same(
    run_of, tmp_path, caplog, interrupted
):
    """Neither a periodic checkpoint nor the last one can be written; the one before stays."""
    folder, whole_run = tmp_path / "run", run_of()
    train(whole_run)
    interrupted(5, folder)
    run = run_of(folder=folder, execution=EACH_UPDATE)
    with largest_file(20_000):
        train(run)
    assert same(run, whole_run.network.state_dict())
    told = r"step-000000006 could not be written \(.*File too large.*\); the last good one is /"
    assert re.search(told, caplog.text)
    assert caplog.text.count("Training goes on.") == 3
    assert "The model is trained, and saved all the same." in caplog.text
    assert steps_in(folder) == ["step-000000005"]
    assert not list(folder.glob(".partial*"))
    resumed = run_of(folder=folder)
    train(resumed)
    assert same(resumed, whole_run.network.state_dict())


def test_a_stop_without_room_is_an_error_and_keeps_the_checkpoint_before(
    run_of, tmp_path, interrupted
):
    folder = tmp_path / "run"
    interrupted(5, folder)
    told = r"step-000000007 could not be written .*; the last good one is .*step-000000005"
    with largest_file(20_000), pytest.raises(ModelError, match=told):
        interrupted(2, folder)
    assert steps_in(folder) == ["step-000000005"]


def test_a_full_disk_without_a_checkpoint_is_told_as_such(run_of, tmp_path, monkeypatch, caplog):
    def full(tensors, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "save_file", full)
    assert len(train(run_of(folder=tmp_path / "run"))) == 2
    assert "No space left on device); there is none before. The model is trained" in caplog.text


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
    assert "going on in epoch" in finished.stderr
    whole_run = run_of(config=config)
    with use_threads(1):  # as the process; with another number of threads sums round otherwise
        history = train(whole_run)
    assert same(whole_run, load_file(f"{folder}.safetensors"))
    resumed = json.loads(Path(f"{folder}.history.json").read_text())
    assert [r["loss"] for r in resumed] == [r["loss"] for r in history]
    assert sum(r["updates"] for r in history) == 20
