"""What is told of training while it goes on: sums over updates, and the figures made of them."""

import json
import logging
import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from epifoundation.config import ModelConfig
from epifoundation.files import whole
from epifoundation.model.network import DECODER_WIDTH
from epifoundation.training.dataset import Minibatch

logger = logging.getLogger(__name__)

Sums = dict[str, float]
STEPS_FILE = "steps.jsonl"
# Dense bf16 operations a second, from the makers' data sheets; longer names first.
PEAK_FLOPS = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12}


def training_flops(config: ModelConfig, minibatch: Minibatch) -> float:
    """Return the arithmetic of a forward and a backward pass that its real tokens need.

    Attention is counted by the sum of squared lengths, the last block for [CLS] alone, recomputed
    blocks once; norms and embeddings are left out.
    """
    d, hidden = config.d_model, config.d_feedforward
    cells = minibatch.cells
    squares = float(cells.cu_seqlens.diff().double().square().sum())
    key_value, query_out, feed_forward = 4 * d * d, 4 * d * d, 4 * d * hidden  # of one token
    block = cells.n_tokens * (key_value + query_out + feed_forward) + 4 * d * squares
    last = cells.n_tokens * (key_value + 4 * d) + cells.n_cells * (query_out + feed_forward)
    n_pairs = 0 if minibatch.genes is None else minibatch.genes.n_pairs
    decoder = n_pairs * 2 * DECODER_WIDTH * (d + DECODER_WIDTH)
    return 3.0 * ((config.n_layers - 1) * block + last + decoder)


def peak_flops(device: torch.device) -> float | None:
    """Return what the device could do at most in bf16; null where it is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((flops for known, flops in PEAK_FLOPS.items() if known in name), None)


def peak_memory_gib(device: torch.device) -> float:
    """Return the most memory used so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # reported in KiB


def add(sums: Sums, more: Sums) -> None:
    """Add `more` into `sums`, name by name."""
    for name, value in more.items():
        sums[name] = sums.get(name, 0.0) + value


def figures(sums: Sums, device: torch.device, n_devices: int) -> dict[str, float]:
    """Return means and rates of some updates; `accuracy` and `mfu` only where they mean something.

    `loader_wait` is the share of time spent waiting for cells to be read.
    """
    told = {"loss": sums["loss"] / max(sums["examples"], 1)}
    if "correct" in sums:
        told["accuracy"] = sums["correct"] / max(sums["examples"], 1)
    told["gradient_norm"] = sums["gradient_norm"] / sums["updates"]
    told |= {
        "seconds": sums["seconds"],
        "cells_per_second": sums["cells"] / sums["seconds"],
        "tokens_per_second": sums["tokens"] / sums["seconds"],
        "loader_wait": sums["waited"] / sums["seconds"],
        "peak_memory_gib": peak_memory_gib(device),
    }
    peak = peak_flops(device)
    if peak is not None:
        told["mfu"] = sums["flops"] / sums["seconds"] / (peak * n_devices)
    return told


def first_not_finite(totals: list[Tensor]) -> int | None:
    """Return the first of the losses that is no finite number; null: all are."""
    return next((i for i, total in enumerate(totals) if not math.isfinite(float(total))), None)


@dataclass(eq=False)
class StepLog:
    """A line per logged step in `folder`/steps.jsonl, and the same for TensorBoard beside it.

    A null folder keeps nothing. Lines of what is done again where the run goes on from a checkpoint
    are taken out first: those beyond `step`, and its validation unless that was `validated`.
    """

    folder: Path | None
    step: int
    validated: bool
    tensorboard: bool
    writer: Any = None
    failed: bool = False

    def __post_init__(self) -> None:
        if self.folder is None:
            return
        path = self.folder / STEPS_FILE
        lines = path.read_text().splitlines() if path.exists() and self.step else []
        kept = "".join(f"{line}\n" for line in lines if self._stays(line))
        with whole(path) as partial:
            partial.write_text(kept)
        if self.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.step + 1)

    def write(self, values: dict[str, float]) -> None:
        """Add the line of a step; where that fails it is told once, as training is worth more."""
        if self.folder is None:
            return
        with self._failure_told():
            with (self.folder / STEPS_FILE).open("a") as handle:
                handle.write(json.dumps(values) + "\n")
            if self.writer is not None:
                for name, value in values.items():
                    self.writer.add_scalar(name, value, values["step"])

    def close(self) -> None:
        """Finish what TensorBoard reads."""
        if self.writer is not None:
            with self._failure_told():
                self.writer.close()

    def _stays(self, line: str) -> bool:
        try:
            told = json.loads(line)
            step: float = told["step"]
        except (ValueError, KeyError):  # cut off by a kill
            return False
        return step < self.step or (step == self.step and (self.validated or "loss" in told))

    @contextmanager
    def _failure_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self.failed:
                logger.error(
                    "%s: metrics of steps cannot be written (%s). Training goes on, and they are"
                    " lacking there.",
                    self.folder,
                    error.strerror or error,
                )
            self.failed = True
