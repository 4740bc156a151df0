"""Reading ahead: the same cells, sooner."""

import threading
import time

import pytest
import torch

from epifoundation.training.loader import read_ahead
from epifoundation.training.loop import train


@pytest.mark.parametrize("n_workers", [0, 1, 2, 5])
def test_the_number_of_threads_changes_nothing(run_of, n_workers):
    cells = run_of().training
    plan = cells.shuffled(3, 4)
    windows = [plan[start : start + 2] for start in range(0, len(plan), 2)]
    read = list(read_ahead(cells, windows, 3, n_workers=n_workers))
    assert len(read) == len(windows)
    for window, minibatches in zip(windows, read, strict=True):
        for rows, minibatch in zip(window, minibatches, strict=True):
            alone = cells.read(rows, 3)
            assert torch.equal(alone.cells.token_ids, minibatch.cells.token_ids)
            assert torch.equal(alone.genes.gene_ids, minibatch.genes.gene_ids)


def test_training_is_the_same_bit_for_bit(run_of):
    runs = [run_of(execution={"n_workers": n}) for n in (0, 1, 2)]
    losses = [[record["loss"] for record in train(run)] for run in runs]
    assert losses[0] == losses[1] == losses[2]
    states = [run.network.state_dict() for run in runs]
    assert all(torch.equal(states[0][name], state[name]) for state in states for name in states[0])


def test_threads_end_with_the_reader(run_of):
    cells = run_of().training
    reading = read_ahead(cells, [[rows] for rows in cells.shuffled(0, 2)], 0, n_workers=2)
    next(reading)
    reading.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(
        thread.name.startswith("reader") for thread in threading.enumerate()
    ):
        time.sleep(0.01)
    assert not any(thread.name.startswith("reader") for thread in threading.enumerate())


def test_an_error_while_reading_is_raised_where_it_is_waited_for(run_of):
    cells = run_of().training
    reading = read_ahead(cells, [[cells.rows[:2]], [cells.rows[:2] + 10**6]], 0, n_workers=1)
    next(reading)
    with pytest.raises((IndexError, ValueError)):
        next(reading)
