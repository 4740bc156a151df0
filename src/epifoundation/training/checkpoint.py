"""State of a training run on disk, so that a killed job goes on where it stopped."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator
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
from epifoundation.training.aside import ASIDE, bring_back, set_aside
from epifoundation.training.distributed import World, gathered, split_like
from epifoundation.training.signals import end

logger = logging.getLogger(__name__)

STATE_FILE = "state.json"
NETWORK, BEST, OPTIMIZER = "network.safetensors", "best.safetensors", "optimizer.safetensors"
WEIGHT_FILES = (NETWORK, BEST, OPTIMIZER)
Weights = dict[str, Tensor]


@dataclass
class TrainState:
    """Where a run stands; with weights and optimiser, all that the next update depends on.

    `step` counts all updates, `update` those done in `epoch`; `sums` are the running sums of that
    epoch, `unlogged` those since the last line of step metrics. Order of cells, subsampling and
    dropout follow from (seed, epoch, update), so no generator is kept. The first process alone
    holds `best_weights`.
    """

    epoch: int = 0
    update: int = 0
    step: int = 0
    best_epoch: int = -1
    best_loss: float = float("inf")
    sums: dict[str, float] = field(default_factory=dict)
    unlogged: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    best_weights: Weights = field(default_factory=dict)


@dataclass(eq=False)
class Checkpointer:
    """Keeps the latest states of one run in `folder`, one folder each; null: keeps nothing.

    `fingerprint` and `steering` are those of the run: a state with another fingerprint is not
    continued, one with other steering only if `execution.changed_settings` says so. Every process
    calls `save` and `load`; the first one writes, and decides what is gone on from.
    """

    folder: Path | None
    fingerprint: str
    steering: dict[str, Any]
    network: nn.Module
    optimizer: torch.optim.Optimizer
    execution: ExecutionConfig
    world: World
    asked: list[int] = field(default_factory=list)
    saved_at: float = field(default_factory=time.monotonic)
    kept: list[Path] = field(default_factory=list)

    def after_update(self, state: TrainState) -> None:
        """Save when it is time to; once one process is asked to stop, save and end the program.

        A periodic checkpoint that cannot be written is told in the log: training is worth more.
        """
        stop, due = self.world.sum([bool(self.asked), self._is_due(state)])
        if stop:
            self._stop(state)
        if due:
            self.try_save(state, "Training goes on.")

    def stop_if_asked(self, state: TrainState) -> None:
        """Save and end the program once one process is asked to stop; every process must call."""
        if self.world.sum([bool(self.asked)])[0]:
            self._stop(state)

    def _stop(self, state: TrainState) -> NoReturn:
        self.save(state)
        where = "nothing is kept of a run without a folder"
        if self.folder is not None:
            where = f"all is saved in {self.folder}, and the same command goes on from there"
        end(self.asked, f"asked to stop after update {state.step}: {where}")

    def _is_due(self, state: TrainState) -> bool:
        minutes = (time.monotonic() - self.saved_at) / 60
        every = self.execution.checkpoint_updates
        by_updates = every is not None and state.step % every == 0
        return by_updates or minutes > self.execution.checkpoint_minutes

    def try_save(self, state: TrainState, otherwise: str) -> None:
        """Save; where that fails, say so, and what happens `otherwise`."""
        try:
            self.save(state)
        except ModelError as error:
            logger.error("%s %s", error, otherwise)

    def save(self, state: TrainState) -> None:
        """Write everything needed to go on, whole or not at all.

        Where that fails, for want of space say, the checkpoints before stay and ModelError says so.
        """
        if self.folder is None:
            return
        weights = gathered(self.network.state_dict().items(), self.world)
        moments = gathered(_moments(self.network, self.optimizer), self.world)
        self.saved_at = time.monotonic()
        if not self.world.is_first:
            return
        target = self.folder / f"step-{state.step:09d}"
        try:
            with whole(target) as partial:
                partial.mkdir()
                for name, tensors in zip(
                    WEIGHT_FILES, (weights, state.best_weights, moments), strict=True
                ):
                    save_file(tensors, partial / name)
                told = {key: value for key, value in vars(state).items() if key != "best_weights"}
                hashes = {name: file_hash(partial / name) for name in WEIGHT_FILES}
                told |= {"fingerprint": self.fingerprint, "steering": self.steering}
                told |= {"hashes": hashes}
                document = {"digest": _digest(told), "state": told}
                (partial / STATE_FILE).write_text(json.dumps(document) + "\n")
        except (OSError, SafetensorError, DiskFullError) as error:
            reason = "the disk is full" if isinstance(error, DiskFullError) else error
            last = f"the last good one is {self.kept[-1]}" if self.kept else "there is none before"
            message = f"the checkpoint {target} could not be written ({reason}); {last}."
            raise ModelError(message) from error
        self.kept = [path for path in self.kept if path != target] + [target]
        self._tidy()
        logger.info("checkpoint: %s", target)

    def load(self) -> TrainState:
        """Load the run into network and optimiser; a fresh state where there is none.

        A damaged checkpoint is named in the log, and the one before it is tried. Those of other
        data or settings are set aside.
        """
        found = self._found() if self.folder is not None and self.world.is_first else None
        found = self.world.share(found)[0]
        if found is None:
            return TrainState()
        folder, told = found
        set_weights(self.network, load_file(folder / NETWORK))
        _set_moments(self.network, self.optimizer, load_file(folder / OPTIMIZER))
        best = load_file(folder / BEST) if self.world.is_first else {}
        return TrainState(**told, best_weights=best)

    def last_told(self) -> str:
        """Return the sentence on what is left after a training that cannot go on."""
        if self.folder is None:
            return ""
        if not self.kept:
            return "No checkpoint had been written."
        return (
            f"The last good checkpoint is kept: {self.kept[-1]}. With training.changed_settings:"
            " go_on another learning rate goes on from there; else it trains anew."
        )

    def _found(self) -> tuple[Path, dict[str, Any]] | None:
        """Return the latest good checkpoint of this run, and the fields of its state."""
        assert self.folder is not None
        self._sort_out(self.folder)
        own = sorted(self.folder.glob("step-*"), reverse=True)
        for folder in own:
            try:
                told = _checked(folder)
            except (OSError, ValueError, KeyError, TypeError) as error:
                logger.warning("%s is damaged (%s); looking for one before it", folder, error)
                continue
            changes = _changes(told.pop("steering"), self.steering)
            if changes:
                logger.warning("%s: going on with other settings: %s", folder, ", ".join(changes))
                told["sums"]["changed"] = told["sums"].get("changed", 0) + len(changes)
            self.kept = [path for path in sorted(own) if path <= folder]
            logger.info(
                "%s: going on in epoch %d after update %d",
                folder,
                told["epoch"] + 1,
                told["update"],
            )
            return folder, told
        if own:
            logger.warning("no checkpoint in %s can be read; training anew", self.folder)
        return None

    def _sort_out(self, folder: Path) -> None:
        """Leave the checkpoints of this run, and damaged ones, in `folder`."""
        told = {path: _told_or_none(path) for path in folder.glob("step-*")}
        others = {path: one for path, one in told.items() if one and not self._is_own(one)}
        hint = ""
        if any(one["fingerprint"] == self.fingerprint for one in others.values()):
            hint = (
                "To go on from them with these settings instead, stop, remove"
                f" {folder / 'step-*'} and set training.changed_settings: go_on."
            )
        set_aside(folder, {path: _key(one) for path, one in others.items()}, hint=hint)
        if any(one and self._is_own(one) for one in told.values()):
            return
        shelved = {path: _told_or_none(path) for path in folder.glob(f"{ASIDE}/*/step-*")}
        back = [
            (one["steering"] == self.steering, one["step"], path.parent)
            for path, one in shelved.items()
            if one and self._is_own(one)
        ]
        if back:
            bring_back(folder, max(back)[-1])

    def _is_own(self, told: dict[str, Any]) -> bool:
        same = told["steering"] == self.steering or self.execution.changed_settings == "go_on"
        return bool(told["fingerprint"] == self.fingerprint and same)

    def _tidy(self) -> None:
        """Delete what is not among the latest checkpoints of this run."""
        assert self.folder is not None
        self.kept = self.kept[-self.execution.keep_checkpoints :]
        killed = self.folder.glob(".partial-*-step-*")  # while they were written
        for path in (*self.folder.glob("step-*"), *killed):
            if path not in self.kept:
                shutil.rmtree(path, ignore_errors=True)


def _checked(folder: Path) -> dict[str, Any]:
    """Return the fields of a state and its steering, after a look at all files."""
    told = _told(folder)
    del told["fingerprint"]
    for name, expected in told.pop("hashes").items():
        if file_hash(folder / name) != expected:
            message = f"{name} is not what was written"
            raise ValueError(message)
    known = {one.name for one in fields(TrainState)} - {"best_weights"} | {"steering"}
    if differing := told.keys() ^ known:
        message = f"{STATE_FILE} has other fields: {', '.join(sorted(differing))}"
        raise ValueError(message)
    return told


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        f"{name} {before.get(name)} -> {now[name]}" for name in now if before[name] != now[name]
    ]


def _told(folder: Path) -> dict[str, Any]:
    document = json.loads((folder / STATE_FILE).read_text())
    told: dict[str, Any] = document["state"]
    if _digest(told) != document["digest"]:
        message = f"{STATE_FILE} is not what was written"
        raise ValueError(message)
    return told


def _told_or_none(folder: Path) -> dict[str, Any] | None:
    try:
        told = _told(folder)
        return told if told.keys() >= {"fingerprint", "steering", "step"} else None
    except (OSError, ValueError, KeyError, TypeError):  # damaged
        return None


def _key(told: dict[str, Any]) -> str:
    return _digest({name: told[name] for name in ("fingerprint", "steering")})[:12]


def _digest(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def forget(folder: Path | str) -> None:
    """Delete the checkpoints of a run whose model has been saved; its metrics stay."""
    for path in (*Path(folder).glob("step-*"), Path(folder, ASIDE)):
        shutil.rmtree(path, ignore_errors=True)


@torch.no_grad()
def set_weights(network: nn.Module, weights: Weights) -> None:
    """Copy weights into the network, split where it is; every process must call it."""
    own = network.state_dict()
    assert own.keys() == weights.keys(), "the weights of this network"
    for name, tensor in own.items():
        tensor.copy_(split_like(weights[name], tensor))


def _moments(network: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            yield f"{name}|{key}", value


def _set_moments(network: nn.Module, optimizer: torch.optim.Optimizer, moments: Weights) -> None:
    parameters = dict(network.named_parameters())
    for name, value in moments.items():
        parameter = parameters[name.rpartition("|")[0]]
        optimizer.state[parameter][name.rpartition("|")[2]] = split_like(value, parameter)
