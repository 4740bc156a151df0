"""State of a training run on disk, so that a killed job goes on where it stopped."""

import json
import logging
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from epifoundation.files import whole

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_CHECKPOINTS = 300.0
Weights = dict[str, Tensor]


@dataclass
class TrainState:
    """Where a run stands; with weights and optimiser, all that the next update depends on.

    `update` counts updates done in `epoch`. `sums` are the running sums of that epoch. Order of
    cells, subsampling and dropout follow from (seed, epoch, update), so no generator is kept.
    """

    epoch: int = 0
    update: int = 0
    best_epoch: int = -1
    best_loss: float = float("inf")
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    best_weights: Weights = field(default_factory=dict)


@dataclass(eq=False)
class Checkpointer:
    """Keeps the latest state of one run in `folder`; null: keeps nothing.

    `fingerprint` is a digest of all that decides the result: a checkpoint with another one is not
    continued.
    """

    folder: Path | None
    fingerprint: str
    network: nn.Module
    optimizer: torch.optim.Optimizer
    asked_to_stop: threading.Event = field(default_factory=threading.Event)
    saved_at: float = field(default_factory=time.monotonic)

    def after_update(self, state: TrainState) -> None:
        """Save when it is time to; once asked to stop, save and end the program."""
        stop = self.asked_to_stop.is_set()
        if stop or time.monotonic() - self.saved_at > SECONDS_BETWEEN_CHECKPOINTS:
            self.save(state)
        if stop:
            logger.info("asked to stop (SIGTERM); the next run goes on from here")
            raise SystemExit(0)

    def save(self, state: TrainState) -> None:
        """Write everything needed to go on, whole or not at all."""
        if self.folder is None:
            return
        with whole(self.folder) as partial:
            partial.mkdir()
            save_file(weights_of(self.network), partial / "network.safetensors")
            save_file(state.best_weights, partial / "best.safetensors")
            save_file(_moments(self.network, self.optimizer), partial / "optimizer.safetensors")
            told = {name: value for name, value in vars(state).items() if name != "best_weights"}
            document = json.dumps({"fingerprint": self.fingerprint, **told})
            (partial / "state.json").write_text(document + "\n")
        self.saved_at = time.monotonic()
        logger.info("checkpoint: %s, epoch %d, update %d", self.folder, state.epoch, state.update)

    def load(self) -> TrainState:
        """Load the run into network and optimiser; a fresh state where there is none.

        A checkpoint of other data or settings, or a damaged one, is named in the log, not used.
        """
        if self.folder is None or not (self.folder / "state.json").exists():
            return TrainState()
        try:
            told: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
            if told.pop("fingerprint") != self.fingerprint:
                logger.info("%s is of other data or settings; training anew", self.folder)
                return TrainState()
            weights = load_file(self.folder / "network.safetensors")
            best = load_file(self.folder / "best.safetensors")
            moments = load_file(self.folder / "optimizer.safetensors")
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            logger.warning("%s is damaged (%s); training anew", self.folder, error)
            return TrainState()
        self.network.load_state_dict(weights)
        _set_moments(self.network, self.optimizer, moments)
        state = TrainState(**told, best_weights=best)
        logger.info("%s: going on at epoch %d, update %d", self.folder, state.epoch, state.update)
        return state

    def remove(self) -> None:
        """Delete the checkpoint of a run that has ended."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def weights_of(network: nn.Module) -> Weights:
    """Return a copy of parameters and buffers on the CPU."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in network.state_dict().items()
    }


def _moments(network: nn.Module, optimizer: torch.optim.Optimizer) -> Weights:
    return {
        f"{name}|{key}": value.detach().to("cpu", copy=True).contiguous()
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _set_moments(network: nn.Module, optimizer: torch.optim.Optimizer, moments: Weights) -> None:
    parameters = dict(network.named_parameters())
    for name, value in moments.items():
        parameter = parameters[name.rpartition("|")[0]]
        optimizer.state[parameter][name.rpartition("|")[2]] = value.to(parameter.device)
