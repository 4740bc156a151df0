"""The training loop, the same for pretraining and fine-tuning, on one device or several."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from epifoundation.config import TrainConfig
from epifoundation.files import progress_line, with_progress
from epifoundation.hub import FoundationModel
from epifoundation.model.attention import described
from epifoundation.model.network import EpiFoundation
from epifoundation.training.checkpoint import (
    Checkpointer,
    TrainState,
    forget,
    put_weights,
    weights_of,
)
from epifoundation.training.dataset import WITHOUT_EPOCH, Minibatch
from epifoundation.training.distributed import (
    World,
    clip_gradients,
    devices_of,
    shard_tables,
)
from epifoundation.training.launch import spawn
from epifoundation.training.loader import read_ahead
from epifoundation.training.metrics import StepLog, Sums, add, figures, training_flops
from epifoundation.training.refusals import (
    check_cells,
    check_finite,
    check_validation,
    memory_named,
)
from epifoundation.training.run import History, Run
from epifoundation.training.schedule import learning_rate_at
from epifoundation.training.signals import heard

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


def train(run: Run) -> History:
    """Train the network, leave it at its best validation loss, and return a record per epoch.

    Continues from the last good checkpoint of the same run where there is one. On SIGTERM or
    SIGUSR1 it writes a checkpoint after the current update and ends the program with code 0.
    """
    check_cells(run)
    devices = devices_of(run.execution, run.execution.n_devices)
    if len(devices) > 1:
        return spawn(train_in, run, devices)
    return train_in(World(0, 1, devices[0]), run)


def train_in(world: World, run: Run) -> History:
    """Train as one process of `world`."""
    asked = threading.Event()
    with heard(lambda _: asked.set()), memory_named(run):
        fingerprint = run.fingerprint
        network = _prepared(run, world)
        groups = _parameter_groups(network)
        optimizer = torch.optim.Adam(groups, run.config.learning_rate, fused=True)
        checkpointer = Checkpointer(
            run.folder, fingerprint, network, optimizer, run.execution, world, asked
        )
        state = checkpointer.load()
        log = StepLog(run.folder if world.is_first else None, state.step, run.execution.tensorboard)
        _log_start(run, world)
        with torch.random.fork_rng():
            _train_epochs(run, world, state, optimizer, checkpointer, log)
        checkpointer.save(state)  # until the model is saved
        put_weights(network, state.best_weights)
    log.close()
    return state.history


def _train_epochs(
    run: Run,
    world: World,
    state: TrainState,
    optimizer: torch.optim.Optimizer,
    checkpointer: Checkpointer,
    log: StepLog,
) -> None:
    """Train from where `state` stands until the last epoch, or until it gets no better."""
    started, epochs_before = time.monotonic(), state.epoch
    while state.epoch < run.config.epochs:
        if state.epoch - state.best_epoch > run.config.patience:
            logger.info("no better validation for %d epochs: stopping", run.config.patience)
            break
        record = _train_epoch(run, world, state, optimizer, checkpointer, log)
        found = evaluate(run, world, lambda: checkpointer.stop_if_asked(state))
        seen = {f"validation_{key}": value for key, value in found.items()}
        check_validation(run, seen["validation_loss"], state.epoch)
        state.history.append(record | seen)
        log.write({"step": state.step, "epoch": record["epoch"], **seen})
        if seen["validation_loss"] < state.best_loss:
            state.best_loss, state.best_epoch = seen["validation_loss"], state.epoch
            state.best_weights = weights_of(run.network)
        state.epoch, state.update, state.sums = state.epoch + 1, 0, {}
        seconds = time.monotonic() - started
        done, left = state.epoch - epochs_before, run.config.epochs - epochs_before
        told = _summary(state.history[-1])
        logger.info("%s; %s", progress_line("epochs", done, left, seconds), told)


def finish(model: FoundationModel, history: History, **told: str) -> FoundationModel:
    """Return the trained model on the CPU, in eval mode, with what is told of its making."""
    model.network.to("cpu").eval()
    metrics: dict[str, float] = {}
    if history:
        best = min(history, key=lambda record: record["validation_loss"])
        metrics = {"epoch": best["epoch"], "epochs": float(len(history))}
        metrics |= {name: value for name, value in best.items() if name.startswith("validation_")}
    return replace(model, told=told, metrics=metrics, history=history)


def _train_epoch(
    run: Run,
    world: World,
    state: TrainState,
    optimizer: torch.optim.Optimizer,
    checkpointer: Checkpointer,
    log: StepLog,
) -> dict[str, float]:
    """Train from `state.update` to the end of the epoch and return its record."""
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
    what = f"epoch {state.epoch + 1}, updates"
    for window in with_progress(todo, what, total=len(todo), logger=logger):
        began = time.monotonic()
        minibatches = next(reading)
        waited = time.monotonic() - began
        learning_rate = learning_rate_at(state.epoch + (state.update + 1) / len(windows), config)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        # Dropout of an update depends on (seed, epoch, update) alone, which makes resuming exact.
        torch.manual_seed(_number(run.seed, state.epoch, state.update, world.rank))
        weights = [weight for _, weight in window]
        sums = update(run, world, minibatches, weights, optimizer, epoch=state.epoch)
        sums |= {"seconds": time.monotonic() - began, "waited": waited, "updates": 1}
        state.update, state.step = state.update + 1, state.step + 1
        add(state.sums, sums)
        add(log.sums, sums)
        if state.step % run.execution.log_every_updates == 0:
            told = figures(log.sums, run.device, world.size) | {"learning_rate": learning_rate}
            log.write({"step": state.step, "epoch": state.epoch + 1, **told})
            log.sums.clear()
        checkpointer.after_update(state)
    record = {"epoch": state.epoch + 1, "updates": state.sums["updates"]}
    record |= figures(state.sums, run.device, world.size)
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
    check_finite(run, sums["loss"] + norm, epoch, minibatches, totals)
    optimizer.step()
    return sums | {"examples": n_examples, "gradient_norm": norm}


def evaluate(
    run: Run, world: World, between: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Return the mean loss over the validation cells, and the share of right answers if any is.

    `between` is called after each minibatch, by every process.
    """
    run.network.eval()
    world.align(run.network.buffers())
    config, cells = run.config, run.validation
    total, n_correct, n_examples = 0.0, 0.0, 0.0
    minibatches = cells.in_order_of_length(config.cells_per_minibatch, config.tokens_per_minibatch)
    parts = [world.part_of(rows) for rows in minibatches]
    reading = read_ahead(
        cells, ([rows] for rows, _ in parts), WITHOUT_EPOCH, n_workers=run.execution.n_workers
    )
    with torch.no_grad(), autocast(run.device, config):
        for (minibatch,), (_, weight) in zip(reading, parts, strict=True):
            loss = run.objective(run.network, minibatch.to(run.device))
            total += weight * float(loss.total)
            n_correct += math.nan if loss.n_correct is None else weight * float(loss.n_correct)
            n_examples += weight * loss.count
            between()
    total, n_correct, n_examples = world.sum([total, n_correct, n_examples])
    means = {"loss": total / max(n_examples, 1)}
    if not math.isnan(n_correct):
        means["accuracy"] = n_correct / max(n_examples, 1)
    return means


def autocast(device: torch.device, config: TrainConfig) -> torch.autocast:
    """Return the precision of a forward pass: bfloat16 on a GPU if configured, else float32."""
    enabled = device.type == "cuda" and config.precision == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def _prepared(run: Run, world: World) -> EpiFoundation:
    network = run.network.to(world.device)
    network.checkpointed = run.execution.gradient_checkpointing
    if run.execution.shard_tables and world.size > 1:
        shard_tables(network, world)
    if run.execution.compile:
        for block in network.blocks:
            block.compile(dynamic=True)
    return network


def _parameter_groups(network: EpiFoundation) -> list[dict[str, list[torch.nn.Parameter]]]:
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    kinds = dict.fromkeys(type(parameter.data) for parameter in trained)  # whole, split
    return [{"params": [p for p in trained if type(p.data) is kind]} for kind in kinds]


def _log_start(run: Run, world: World) -> None:
    n_parameters = sum(parameter.numel() for parameter in run.network.parameters())
    n_trained = sum(p.numel() for p in run.network.parameters() if p.requires_grad)
    half = run.device.type == "cuda" and run.config.precision == "bf16"
    logger.info(
        "%s: %s parameters, %s of them trained, on %d x %s (%s; %s), %d training and %d validation"
        " cells, %d tokens a minibatch",
        run.objective.__name__,
        f"{n_parameters:,}",
        f"{n_trained:,}",
        world.size,
        run.device,
        "bf16" if half else "fp32",
        described(run.device.type, torch.bfloat16 if half else torch.float32),
        len(run.training.rows),
        len(run.validation.rows),
        run.config.tokens_per_minibatch
        or run.training.token_budget(run.config.cells_per_minibatch),
    )


def _summary(record: dict[str, float]) -> str:
    return (
        f"loss {record['loss']:.4f}, validation {record['validation_loss']:.4f},"
        f" {record['cells_per_second']:,.0f} cells/s"
    )


def _number(seed: int, epoch: int, update: int, rank: int) -> int:
    words = [seed, epoch, update] + [rank] * (rank > 0)
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)
