"""State of a training run on disk, so that a killed job goes on where it stopped."""

import hashlib
import json
import logging
import shutil
import threading
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from epifoundation.config import ExecutionConfig
from epifoundation.errors import DiskFullError, ModelError
from epifoundation.files import file_hash, whole
from epifoundation.training.distributed import World, split_like, whole_tensor

logger = logging.getLogger(__name__)

STATE_FILE = "state.json"
ASIDE = "aside"  # where checkpoints of other data or settings lie, until the model is saved
WEIGHT_FILES = ("network.safetensors", "best.safetensors", "optimizer.safetensors")
Weights = dict[str, Tensor]


@dataclass
class TrainState:
    """Where a run stands; with weights and optimiser, all that the next update depends on.

    `step` counts all updates, `update` those done in `epoch`; `sums` are the running sums of that
    epoch. Order of cells, subsampling and dropout follow from (seed, epoch, update), so no
    generator is kept.
    """

    epoch: int = 0
    update: int = 0
    step: int = 0
    best_epoch: int = -1
    best_loss: float = float("inf")
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    best_weights: Weights = field(default_factory=dict)


@dataclass(eq=False)
class Checkpointer:
    """Keeps the latest states of one run in `folder`, one folder each; null: keeps nothing.

    `fingerprint` is a digest of all that decides the result: a checkpoint with another one is not
    continued. Every process calls `save` and `load`; the first one writes.
    """

    folder: Path | None
    fingerprint: str
    network: nn.Module
    optimizer: torch.optim.Optimizer
    execution: ExecutionConfig
    world: World
    asked_to_stop: threading.Event = field(default_factory=threading.Event)
    saved_at: float = field(default_factory=time.monotonic)
    kept: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)

    def after_update(self, state: TrainState) -> None:
        """Save when it is time to; once one process is asked to stop, save and end the program.

        A periodic checkpoint that cannot be written is told in the log: training is worth more.
        """
        stop, due = self.world.sum([self.asked_to_stop.is_set(), self._is_due(state)])
        if stop:
            self._stop(state)
        if due:
            try:
                self.save(state)
            except ModelError as error:
                logger.error("%s Training goes on.", error)

    def stop_if_asked(self, state: TrainState) -> None:
        """Save and end the program once one process is asked to stop; every process must call."""
        if self.world.sum([self.asked_to_stop.is_set()])[0]:
            self._stop(state)

    def _stop(self, state: TrainState) -> NoReturn:
        self.save(state)
        logger.info("asked to stop; the next run goes on from here")
        raise SystemExit(0)

    def _is_due(self, state: TrainState) -> bool:
        minutes = (time.monotonic() - self.saved_at) / 60
        every = self.execution.checkpoint_updates
        by_updates = every is not None and state.step % every == 0
        return by_updates or minutes > self.execution.checkpoint_minutes

    def save(self, state: TrainState) -> None:
        """Write everything needed to go on, whole or not at all.

        Where that fails, for want of space say, the checkpoints before stay and ModelError says so.
        """
        if self.folder is None:
            return
        weights, moments = weights_of(self.network), _moments(self.network, self.optimizer)
        self.saved_at = time.monotonic()
        if not self.world.is_first:
            return
        target = self.folder / f"step-{state.step:09d}"
        try:
            self._set_aside()
            with whole(target) as partial:
                partial.mkdir()
                for name, tensors in zip(
                    WEIGHT_FILES, (weights, state.best_weights, moments), strict=True
                ):
                    save_file(tensors, partial / name)
                told = {key: value for key, value in vars(state).items() if key != "best_weights"}
                hashes = {name: file_hash(partial / name) for name in WEIGHT_FILES}
                told |= {"fingerprint": self.fingerprint, "hashes": hashes}
                document = {"digest": _digest(told), "state": told}
                (partial / STATE_FILE).write_text(json.dumps(document) + "\n")
        except (OSError, SafetensorError, DiskFullError) as error:
            last = f"the last good one is {self.kept[-1]}" if self.kept else "there is none before"
            message = f"the checkpoint {target} could not be written ({error}); {last}. Free space."
            raise ModelError(message) from error
        self.kept = [path for path in self.kept if path != target] + [target]
        self._tidy()
        logger.info("checkpoint: %s, epoch %d, update %d", target, state.epoch, state.update)

    def load(self) -> TrainState:
        """Load the run into network and optimiser; a fresh state where there is none.

        A damaged checkpoint, or one of other data or settings, is named in the log, and the one
        before it is tried. Those of other data or settings are set aside at the next `save`.
        """
        found = [] if self.folder is None else sorted(self.folder.glob("step-*"), reverse=True)
        self.others = [folder for folder in found if self._is_of_another_run(folder)]
        for folder in self.others:
            logger.info("%s is of other data or settings; not continued", folder)
        own = [folder for folder in found if folder not in self.others]
        for folder in own:
            try:
                told = self._checked(folder)
                weights, best, moments = (load_file(folder / name) for name in WEIGHT_FILES)
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                logger.warning("%s is damaged (%s); looking for one before it", folder, error)
                continue
            put_weights(self.network, weights)
            _set_moments(self.network, self.optimizer, moments)
            state = TrainState(**told, best_weights=best)
            self.kept = [path for path in sorted(own) if path <= folder]
            logger.info("%s: going on at epoch %d, update %d", folder, state.epoch, state.update)
            return state
        if found:
            logger.info("no checkpoint in %s can be continued; training anew", self.folder)
        return TrainState()

    def _is_of_another_run(self, folder: Path) -> bool:
        try:
            return bool(_told(folder)["fingerprint"] != self.fingerprint)
        except (OSError, ValueError, KeyError, TypeError):  # damaged
            return False

    def _checked(self, folder: Path) -> dict[str, Any]:
        """Return the fields of the state, after a look at all files; what is wrong is raised."""
        told = _told(folder)
        del told["fingerprint"]
        for name, expected in told.pop("hashes").items():
            if file_hash(folder / name) != expected:
                message = f"{name} is not what was written"
                raise ValueError(message)
        differing = told.keys() ^ {one.name for one in fields(TrainState)} ^ {"best_weights"}
        if differing:
            message = f"{STATE_FILE} has other fields: {', '.join(sorted(differing))}"
            raise ValueError(message)
        return told

    def _set_aside(self) -> None:
        """Move checkpoints of other data or settings away, in place of those moved before."""
        assert self.folder is not None
        if not self.others:
            return
        aside = self.folder / ASIDE
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for path in self.others:
            path.rename(aside / path.name)
        logger.warning(
            "checkpoints: %d of other data or settings set aside in %s until this run ends; to go"
            " on with them, restore those settings and move them back to %s",
            len(self.others),
            aside,
            self.folder,
        )
        self.others = []

    def _tidy(self) -> None:
        """Delete what is not among the latest checkpoints of this run."""
        assert self.folder is not None
        self.kept = self.kept[-self.execution.keep_checkpoints :]
        killed = self.folder.glob(".partial-*-step-*")  # while they were written
        for path in (*self.folder.glob("step-*"), *killed):
            if path not in self.kept:
                shutil.rmtree(path, ignore_errors=True)


def _told(folder: Path) -> dict[str, Any]:
    document = json.loads((folder / STATE_FILE).read_text())
    told: dict[str, Any] = document["state"]
    if _digest(told) != document["digest"]:
        message = f"{STATE_FILE} is not what was written"
        raise ValueError(message)
    return told


def _digest(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def forget(folder: Path | str) -> None:
    """Delete the checkpoints of a run whose model has been saved; its metrics stay."""
    for path in (*Path(folder).glob("step-*"), Path(folder, ASIDE)):
        shutil.rmtree(path, ignore_errors=True)


def weights_of(network: nn.Module) -> Weights:
    """Return a copy of parameters and buffers on the CPU; every process must call it."""
    return {name: whole_tensor(tensor) for name, tensor in network.state_dict().items()}


@torch.no_grad()
def put_weights(network: nn.Module, weights: Weights) -> None:
    """Copy weights into the network, split where it is; every process must call it."""
    own = network.state_dict()
    assert own.keys() == weights.keys(), "the weights of this network"
    for name, tensor in own.items():
        tensor.copy_(split_like(weights[name], tensor))


def _moments(network: nn.Module, optimizer: torch.optim.Optimizer) -> Weights:
    return {
        f"{name}|{key}": whole_tensor(value)
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _set_moments(network: nn.Module, optimizer: torch.optim.Optimizer, moments: Weights) -> None:
    parameters = dict(network.named_parameters())
    for name, value in moments.items():
        parameter = parameters[name.rpartition("|")[0]]
        optimizer.state[parameter][name.rpartition("|")[2]] = split_like(value, parameter)
