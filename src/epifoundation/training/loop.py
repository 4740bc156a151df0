"""The training loop, the same for pretraining and fine-tuning, on one device or several."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from epifoundation.config import ExecutionConfig
from epifoundation.files import progress_line, with_progress
from epifoundation.hub import FoundationModel
from epifoundation.training.checkpoint import (
    Checkpointer,
    TrainState,
    forget,
    set_weights,
)
from epifoundation.training.dataset import Minibatch
from epifoundation.training.distributed import World, clip_gradients, devices_of, gathered
from epifoundation.training.launch import spawn
from epifoundation.training.loader import read_ahead
from epifoundation.training.metrics import StepLog, Sums, add, figures, training_flops
from epifoundation.training.preparation import log_start, parameter_groups, prepared
from epifoundation.training.refusals import (
    check_cells,
    check_finite,
    check_validation,
    failures_named,
)
from epifoundation.training.run import History, Run, Trained
from epifoundation.training.schedule import learning_rate_at
from epifoundation.training.signals import heard
from epifoundation.training.validation import autocast, evaluate

logger = logging.getLogger(__name__)


@contextmanager
def use_threads(n_threads: int) -> Iterator[None]:
    """Let torch use this many CPU threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def resumable(folder: Path | str, n_threads: int) -> Iterator[Path]:
    """Yield the folder of a run, on so many threads; its checkpoints go if the block succeeds."""
    with use_threads(n_threads):
        yield Path(folder)
    forget(folder)


def usable(execution: ExecutionConfig) -> ExecutionConfig:
    """Return the settings, if a device of their kind is here: to be asked before all else."""
    devices_of(execution, 1)
    return execution


def train(run: Run) -> History:
    """Train the network, leave it at its best validation loss, and return a record per epoch.

    Continues from the last good checkpoint of the same run where there is one. Asked to stop, it
    writes a checkpoint after the current update and ends the program: on SIGTERM or SIGUSR1 with
    code 0, on Ctrl-C as KeyboardInterrupt.
    """
    devices = devices_of(run.execution, run.execution.n_devices)
    check_cells(run)
    if len(devices) > 1:
        trained = spawn(train_in, run, devices)
    else:
        trained = train_in(World(0, 1, devices[0]), run)
    set_weights(run.network, trained.weights)
    return trained.history


@dataclass(frozen=True, eq=False)
class Training:
    """What one process trains with, and where it stands."""

    run: Run
    world: World
    optimizer: torch.optim.Optimizer
    checkpointer: Checkpointer
    state: TrainState
    log: StepLog


def train_in(world: World, run: Run) -> Trained:
    """Train as one process of `world`; the first one returns the weights."""
    asked: list[int] = []
    with heard(asked.append), failures_named(run) as failures:
        fingerprint = run.fingerprint
        network = prepared(run, world)
        optimizer = torch.optim.Adam(
            parameter_groups(network), run.config.learning_rate, fused=True
        )
        checkpointer = Checkpointer(
            run.folder,
            fingerprint,
            run.steering,
            network,
            optimizer,
            run.execution,
            world,
            asked,
        )
        state = checkpointer.load()
        failures.kept = lambda: world.share(checkpointer.last_told())[0]
        folder = run.folder if world.is_first else None
        log = StepLog(folder, state.step, not state.update, run.execution.tensorboard)
        log_start(run, world)
        with torch.random.fork_rng([world.device] if world.device.type == "cuda" else []):
            _train_epochs(Training(run, world, optimizer, checkpointer, state, log))
        checkpointer.try_save(state, "The model is trained, and saved all the same.")
    log.close()
    _log_end(state)
    return Trained(state.history, state.best_weights)


def _train_epochs(training: Training) -> None:
    """Train from where the state stands until the last epoch, or until it gets no better."""
    run, state, world = training.run, training.state, training.world
    started, epochs_before = time.monotonic(), state.epoch
    while state.epoch < run.config.epochs:
        if state.epoch - state.best_epoch > run.config.patience:
            logger.info("no better validation for %d epochs: stopping", run.config.patience)
            break
        record = _train_epoch(training)
        found = evaluate(run, world, lambda: training.checkpointer.stop_if_asked(state))
        seen = {f"validation_{key}": value for key, value in found.items()}
        check_validation(run, seen["validation_loss"], state.epoch)
        state.history.append(record | seen)
        training.log.write({"step": state.step, "epoch": record["epoch"], **seen})
        if seen["validation_loss"] < state.best_loss:
            state.best_loss, state.best_epoch = seen["validation_loss"], state.epoch
            state.best_weights = gathered(run.network.state_dict().items(), world)
        state.epoch, state.update, state.sums = state.epoch + 1, 0, {}
        done, left = state.epoch - epochs_before, run.config.epochs - epochs_before
        since = f" since epoch {epochs_before}" if epochs_before else ""
        pace = progress_line(f"epochs{since}", done, left, time.monotonic() - started)
        logger.info("epoch %d: %s; %s", state.epoch, _summary(state.history[-1]), pace)


def _train_epoch(training: Training) -> dict[str, float]:
    """Train from `state.update` to the end of the epoch and return its record."""
    run, world, state = training.run, training.world, training.state
    config = run.config
    run.network.train()
    plan = run.training.shuffled(
        state.epoch, config.cells_per_minibatch, config.tokens_per_minibatch
    )
    windows = [
        [world.part_of(rows) for rows in plan[start : start + config.accumulation_steps]]
        for start in range(0, len(plan), config.accumulation_steps)
    ]
    todo = windows[state.update :]
    reading = read_ahead(
        run.training,
        ([rows for rows, _ in window] for window in todo),
        state.epoch,
        n_workers=run.execution.n_workers,
    )
    what = f"epoch {state.epoch + 1}, updates" + f" after {state.update}" * (state.update > 0)
    for window in with_progress(todo, what, total=len(todo), logger=logger):
        began = time.monotonic()
        minibatches = next(reading)
        waited = time.monotonic() - began
        learning_rate = learning_rate_at(state.epoch + (state.update + 1) / len(windows), config)
        for group in training.optimizer.param_groups:
            group["lr"] = learning_rate
        # Dropout of an update depends on (seed, epoch, update) alone, which makes resuming exact.
        torch.manual_seed(_number(run.seed, state.epoch, state.update, world.rank))
        weights = [weight for _, weight in window]
        sums = update(run, world, minibatches, weights, training.optimizer, epoch=state.epoch)
        sums |= {"seconds": time.monotonic() - began, "waited": waited, "updates": 1}
        state.update, state.step = state.update + 1, state.step + 1
        add(state.sums, sums)
        add(state.unlogged, sums)
        if state.step % run.execution.log_every_updates == 0:
            told = figures(state.unlogged, run.device, world.size)
            told["learning_rate"] = learning_rate
            training.log.write({"step": state.step, "epoch": state.epoch + 1, **told})
            state.unlogged = {}
        training.checkpointer.after_update(state)
    record = {"epoch": state.epoch + 1, "updates": state.sums["updates"]}
    record |= figures(state.sums, run.device, world.size)
    if "changed" in state.sums:
        record["changed_settings"] = state.sums["changed"]
    return record | {"learning_rate": learning_rate_at(state.epoch + 1, config)}


def update(
    run: Run,
    world: World,
    minibatches: list[Minibatch],
    weights: list[float],
    optimizer: torch.optim.Optimizer,
    *,
    epoch: int,
) -> Sums:
    """Make one update; gradients are of the mean over all examples of all processes.

    `weights` say how much each example of a minibatch counts here.
    """
    pairs = list(zip(minibatches, weights, strict=True))
    n_examples = world.sum([sum(weight * m.n_examples for m, weight in pairs)])[0]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    totals, n_correct = [], None
    optimizer.zero_grad(set_to_none=True)
    for minibatch, weight in pairs:
        with autocast(run.device, run.config):
            loss = run.objective(run.network, minibatch.to(run.device))
        (loss.total / (max(n_examples, 1) / weight)).backward()  # type: ignore[no-untyped-call]
        totals.append(weight * loss.total.detach())
        if loss.n_correct is not None:
            n_correct = weight * loss.n_correct + (0 if n_correct is None else n_correct)
    world.sum_gradients(parameters)
    norm = float(clip_gradients(parameters, run.config.clip_norm))
    local = {
        "loss": float(sum(totals)),
        "cells": sum(weight * m.cells.n_cells for m, weight in pairs),
        "tokens": sum(weight * m.cells.n_tokens for m, weight in pairs),
        "flops": sum(weight * training_flops(run.network.config, m) for m, weight in pairs),
    }
    if n_correct is not None:
        local["correct"] = float(n_correct)
    sums = dict(zip(local, world.sum(list(local.values())), strict=True))
    check_finite(run, world, sums["loss"] + norm, epoch, minibatches, totals)
    optimizer.step()
    return sums | {"examples": n_examples, "gradient_norm": norm}


def finish(model: FoundationModel, history: History, **told: str) -> FoundationModel:
    """Return the trained model on the CPU, in eval mode, with what is told of its making."""
    model.network.to("cpu").eval()
    metrics: dict[str, float] = {}
    if history:
        best = min(history, key=lambda record: record["validation_loss"])
        metrics = {"epoch": best["epoch"], "epochs": float(len(history))}
        metrics |= {name: value for name, value in best.items() if name.startswith("validation_")}
    return replace(model, told=told, metrics=metrics, history=history)


def _summary(record: dict[str, float]) -> str:
    return (
        f"loss {record['loss']:.4f}, validation {record['validation_loss']:.4f},"
        f" {record['cells_per_second']:,.0f} cells/s"
    )


def _log_end(state: TrainState) -> None:
    seconds = sum(record["seconds"] for record in state.history)
    waited = sum(record["loader_wait"] * record["seconds"] for record in state.history)
    logger.info(
        "trained: %s updates in %s s, %.1f %% of that waiting for cells to be read; best validation"
        " loss %.4f, in epoch %d",
        f"{state.step:,}",
        f"{seconds:,.0f}",
        100 * waited / max(seconds, 1e-9),
        state.best_loss,
        state.best_epoch + 1,
    )


def _number(seed: int, epoch: int, update: int, rank: int) -> int:
    words = [seed, epoch, update] + [rank] * (rank > 0)
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)
