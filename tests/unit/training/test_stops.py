"""A stop is heard from the start of training to its end, and a lack of memory is named."""

import dataclasses
import json
import multiprocessing
import os
import signal
import threading
import time

import pytest
import torch

from epifoundation.errors import ModelError
from epifoundation.training import launch, loop
from epifoundation.training.launch import spawn
from epifoundation.training.loop import train

CPU = torch.device("cpu")


def saved_state(folder):
    (saved,) = folder.glob("step-*")
    return json.loads((saved / "state.json").read_text())["state"]


def test_a_stop_during_validation_does_not_wait_for_its_end(run_of, tmp_path, monkeypatch):
    """The state saved is that after the epoch's last update; the result is the same."""
    folder, run, seen = tmp_path / "run", run_of(folder=tmp_path / "run"), []
    real = run.objective

    def signalled(network, minibatch):
        if not network.training:
            seen.append(1)
            os.kill(os.getpid(), signal.SIGTERM)
        return real(network, minibatch)

    signalled.__name__ = real.__name__
    with pytest.raises(SystemExit) as stopped:
        train(dataclasses.replace(run, objective=signalled))
    assert stopped.value.code == 0
    assert len(seen) == 1
    state = saved_state(folder)
    assert (state["epoch"], state["step"]) == (0, 4)
    resumed, whole_run = run_of(folder=folder), run_of()
    losses = [[r["validation_loss"] for r in train(one)] for one in (resumed, whole_run)]
    assert losses[0] == losses[1]
    states = resumed.network.state_dict(), whole_run.network.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_stop_while_the_run_is_prepared_is_heard(run_of, tmp_path, monkeypatch):
    real = loop.prepared

    def signalled(run, world):
        os.kill(os.getpid(), signal.SIGTERM)
        return real(run, world)

    monkeypatch.setattr(loop, "prepared", signalled)
    with pytest.raises(SystemExit) as stopped:
        train(run_of(folder=tmp_path / "run"))
    assert stopped.value.code == 0
    assert saved_state(tmp_path / "run")["step"] == 1


@pytest.mark.parametrize("lacking", ["prepared", "Checkpointer"])
def test_a_lack_of_memory_before_the_first_update_names_the_settings(run_of, monkeypatch, lacking):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, lacking, full)
    with pytest.raises(ModelError, match=r"out of memory on cpu .*max_peaks"):
        train(run_of())


@pytest.mark.slow
@pytest.mark.parametrize("late", [0.0, 0.3, 2.0])
def test_a_stop_while_processes_start_is_no_failure(run_of, monkeypatch, late):
    """As soon as they are started, and some seconds into their imports."""
    start = launch.start_processes
    asking = threading.Timer(late, os.kill, (os.getpid(), signal.SIGTERM))

    def started(*args, **options):
        asking.start()
        return start(*args, **options)

    monkeypatch.setattr(launch, "start_processes", started)
    with pytest.raises(SystemExit) as stopped:
        spawn(loop.train_in, run_of(config={"epochs": 999, "patience": 999}), [CPU, CPU])
    asking.join()
    assert stopped.value.code == 0


def test_a_process_that_has_ended_is_not_signalled(monkeypatch):
    def gone(*_):
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", gone)
    launch.hand_on([1, 2], signal.SIGTERM)


def test_a_second_interrupt_does_not_wait(run_of, tmp_path, monkeypatch, hears_interrupts):
    updates = []

    def signalled(*_, **__):
        updates.append(1)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    monkeypatch.setattr(loop, "update", signalled)
    with pytest.raises(KeyboardInterrupt):
        train(run_of(folder=tmp_path / "run"))
    assert updates == [1]
    assert not list((tmp_path / "run").glob("step-*"))
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_an_interrupt_that_is_ignored_stays_so(run_of, hears_interrupts, monkeypatch):
    real = loop.update

    def signalled(*args, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return real(*args, **options)

    monkeypatch.setattr(loop, "update", signalled)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert len(train(run_of())) == 2


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_of_several_processes_ends_them_all(run_of, tmp_path, hears_interrupts, times):
    """One saves; a second, when they cannot (here the first process is stopped), ends them."""
    folder = tmp_path / "run"
    config = {"epochs": 400, "patience": 400}

    def ask() -> None:
        while not (folder / "steps.jsonl").exists() or not (folder / "steps.jsonl").read_text():
            time.sleep(0.05)
        children = multiprocessing.active_children()
        if times == 2:
            os.kill(children[0].pid, signal.SIGSTOP)
        for process in [os.getpid(), *(child.pid for child in children)]:  # as a terminal does
            os.kill(process, signal.SIGINT)
        if times == 2:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGINT)

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(run_of(config=config, folder=folder, execution={"n_devices": 2}))
    asking.join()
    assert len(list(folder.glob("step-*"))) == (times == 1)
    if times == 1:
        told = f"asked to stop: what was saved is in {folder}, and the same command goes on"
        assert str(stopped.value).startswith(told)
    assert not multiprocessing.active_children()
