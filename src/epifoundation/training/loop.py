"""The training loop, the same for pretraining and fine-tuning."""

import hashlib
import json
import logging
import math
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from epifoundation.config import TrainConfig
from epifoundation.errors import ModelError
from epifoundation.files import progress_line, with_progress
from epifoundation.hub import FoundationModel
from epifoundation.model.network import EpiFoundation
from epifoundation.training.checkpoint import Checkpointer, TrainState, weights_of
from epifoundation.training.dataset import CellDataset, Minibatch, Rows
from epifoundation.training.objectives import Objective

logger = logging.getLogger(__name__)

History = list[dict[str, float]]


@dataclass(frozen=True, eq=False)
class Run:
    """What is trained, on what, towards what, how, and where its checkpoint lies (null: none)."""

    network: EpiFoundation
    training: CellDataset
    validation: CellDataset
    objective: Objective
    config: TrainConfig
    seed: int
    checkpoint: Path | None = None

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.network.parameters()).device

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the result; a checkpoint with another one is not continued."""
        told = [
            self.config.model_dump(mode="json"),
            self.network.config.model_dump(mode="json"),
            [list(parameter.shape) for parameter in self.network.parameters()],
            self.objective.__name__,
            self.seed,
            self.training.store.vocabulary_hash,
        ]
        digest = hashlib.sha256(json.dumps(told).encode())
        digest.update(self.training.rows.tobytes() + self.validation.rows.tobytes())
        return digest.hexdigest()


def best_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def use_threads(n_threads: int) -> Iterator[None]:
    """Let torch use this many CPU threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def learning_rate_at(progress: float, config: TrainConfig) -> float:
    """Return the learning rate at a share of all updates: linear warm-up, then cosine."""
    if progress < config.warmup_fraction:
        return config.learning_rate * progress / config.warmup_fraction
    cosine = (progress - config.warmup_fraction) / (1 - config.warmup_fraction)
    span = config.learning_rate - config.min_learning_rate
    return config.min_learning_rate + span * 0.5 * (1 + math.cos(math.pi * cosine))


def train(run: Run) -> History:
    """Train the network, leave it at its best validation loss, and return a record per epoch.

    Continues from the checkpoint of the same run where there is one. On SIGTERM it writes a
    checkpoint after the current update and ends the program.
    """
    optimizer = torch.optim.Adam(run.network.parameters(), run.config.learning_rate, fused=True)
    checkpointer = Checkpointer(run.checkpoint, run.fingerprint, run.network, optimizer)
    state = checkpointer.load()
    _log_start(run)
    started, epochs_before = time.monotonic(), state.epoch
    with _termination(checkpointer.asked_to_stop), torch.random.fork_rng():
        while state.epoch < run.config.epochs:
            if state.epoch - state.best_epoch > run.config.patience:
                logger.info("no better validation for %d epochs: stopping", run.config.patience)
                break
            record = _train_epoch(run, state, optimizer, checkpointer)
            record |= {f"validation_{name}": value for name, value in evaluate(run).items()}
            state.history.append(record)
            if record["validation_loss"] < state.best_loss:
                state.best_loss, state.best_epoch = record["validation_loss"], state.epoch
                state.best_weights = weights_of(run.network)
            state.epoch, state.update, state.sums = state.epoch + 1, 0, {}
            seconds = time.monotonic() - started
            done, left = state.epoch - epochs_before, run.config.epochs - epochs_before
            logger.info("%s; %s", progress_line("epochs", done, left, seconds), _summary(record))
    run.network.load_state_dict(state.best_weights)
    checkpointer.remove()
    return state.history


def finish(model: FoundationModel, history: History, **told: str) -> FoundationModel:
    """Return the trained model on the CPU, in eval mode, with what is told of its making."""
    model.network.to("cpu").eval()
    best = min(history, key=lambda record: record["validation_loss"])
    metrics = {"epoch": best["epoch"], "epochs": float(len(history))}
    metrics |= {name: value for name, value in best.items() if name.startswith("validation_")}
    return replace(model, told=told, metrics=metrics, history=history)


def _train_epoch(
    run: Run,
    state: TrainState,
    optimizer: torch.optim.Optimizer,
    checkpointer: Checkpointer,
) -> dict[str, float]:
    """Train from `state.update` to the end of the epoch and return its record."""
    config = run.config
    run.network.train()
    plan = run.training.shuffled(state.epoch, config.cells_per_minibatch)
    windows = [
        plan[start : start + config.accumulation_steps]
        for start in range(0, len(plan), config.accumulation_steps)
    ]
    todo = windows[state.update :]
    what = f"epoch {state.epoch + 1}, updates"
    for window in with_progress(todo, what, total=len(todo), logger=logger):
        began = time.monotonic()
        progress = (state.epoch + (state.update + 1) / len(windows)) / config.epochs
        learning_rate = learning_rate_at(progress, config)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        # Dropout of an update depends on (seed, epoch, update) alone, which makes resuming exact.
        torch.manual_seed(_number(run.seed, state.epoch, state.update))
        sums = _update(run, window, state.epoch, optimizer)
        sums |= {"seconds": time.monotonic() - began, "updates": 1}
        for name, value in sums.items():
            state.sums[name] = state.sums.get(name, 0.0) + value
        state.update += 1
        checkpointer.after_update(state)
    return _record(state, learning_rate_at((state.epoch + 1) / config.epochs, config), run.device)


def _update(
    run: Run, window: list[Rows], epoch: int, optimizer: torch.optim.Optimizer
) -> dict[str, float]:
    """Make one update; gradients are of the mean over all examples of the window."""
    minibatches = [run.training.read(rows, epoch) for rows in window]
    n_examples = sum(minibatch.n_examples for minibatch in minibatches)
    total = torch.zeros((), device=run.device)
    n_correct = torch.zeros((), device=run.device)
    optimizer.zero_grad(set_to_none=True)
    for minibatch in minibatches:
        with autocast(run.device, run.config):
            loss = run.objective(run.network, minibatch.to(run.device))
        (loss.total / max(n_examples, 1)).backward()  # type: ignore[no-untyped-call]
        total += loss.total.detach()
        if loss.n_correct is not None:
            n_correct += loss.n_correct
    norm = nn.utils.clip_grad_norm_(run.network.parameters(), run.config.clip_norm)
    _check_finite(run, float(total) + float(norm), epoch, minibatches)
    optimizer.step()
    return {
        "loss": float(total),
        "correct": float(n_correct),
        "examples": n_examples,
        "gradient_norm": float(norm),
        "cells": sum(minibatch.cells.n_cells for minibatch in minibatches),
        "tokens": sum(minibatch.cells.n_tokens for minibatch in minibatches),
    }


def evaluate(run: Run) -> dict[str, float]:
    """Return the mean loss and the share of right answers over the validation cells."""
    if not len(run.validation.rows):
        message = "no validation cell is left to watch training with; raise validation_fraction"
        raise ModelError(message)
    run.network.eval()
    total, n_correct, n_examples = 0.0, 0.0, 0
    with torch.no_grad(), autocast(run.device, run.config):
        for rows in run.validation.in_order_of_length(run.config.cells_per_minibatch):
            minibatch = run.validation.read(rows)
            loss = run.objective(run.network, minibatch.to(run.device))
            total += float(loss.total)
            n_correct += float(loss.n_correct) if loss.n_correct is not None else math.nan
            n_examples += loss.count
    means = {"loss": total / max(n_examples, 1), "accuracy": n_correct / max(n_examples, 1)}
    return {name: value for name, value in means.items() if not math.isnan(value)}


def autocast(device: torch.device, config: TrainConfig) -> torch.autocast:
    """Return the precision of a forward pass: bfloat16 on a GPU if configured, else float32."""
    enabled = device.type == "cuda" and config.precision == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def _record(state: TrainState, learning_rate: float, device: torch.device) -> dict[str, float]:
    sums = state.sums
    return {
        "epoch": state.epoch + 1,
        "updates": sums["updates"],
        "loss": sums["loss"] / max(sums["examples"], 1),
        "accuracy": sums["correct"] / max(sums["examples"], 1),
        "gradient_norm": sums["gradient_norm"] / sums["updates"],
        "learning_rate": learning_rate,
        "seconds": sums["seconds"],
        "cells_per_second": sums["cells"] / sums["seconds"],
        "tokens_per_second": sums["tokens"] / sums["seconds"],
        "peak_memory_gib": _peak_memory_gib(device),
    }


def _peak_memory_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # reported in KiB


def _check_finite(run: Run, value: float, epoch: int, minibatches: list[Minibatch]) -> None:
    if math.isfinite(value):
        return
    rows = np.concatenate([minibatch.rows for minibatch in minibatches])
    cells = run.training.store.cells["cell"].iloc[rows[:3]].tolist()
    message = (
        f"the loss or its gradient is not finite in epoch {epoch + 1}, in an update of"
        f" {len(rows)} cells (first: {', '.join(cells)}). Lower the learning rate"
        f" ({run.config.learning_rate:g}) or lengthen warmup_fraction."
    )
    raise ModelError(message)


def _log_start(run: Run) -> None:
    n_parameters = sum(parameter.numel() for parameter in run.network.parameters())
    logger.info(
        "%s: %s parameters on %s, %d training and %d validation cells, %d tokens a minibatch",
        run.objective.__name__,
        f"{n_parameters:,}",
        run.device,
        len(run.training.rows),
        len(run.validation.rows),
        run.training.token_budget(run.config.cells_per_minibatch),
    )


def _summary(record: dict[str, float]) -> str:
    return (
        f"loss {record['loss']:.4f}, validation {record['validation_loss']:.4f},"
        f" {record['cells_per_second']:,.0f} cells/s"
    )


def _number(seed: int, epoch: int, update: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, update]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _termination(asked: threading.Event) -> Iterator[None]:
    """Let SIGTERM set the event; elsewhere than in the main thread nothing can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
