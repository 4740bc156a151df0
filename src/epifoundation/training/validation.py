"""How well a network does on the cells that training is watched with."""

import math
from collections.abc import Callable

import torch

from epifoundation.config import TrainConfig
from epifoundation.training.dataset import WITHOUT_EPOCH
from epifoundation.training.distributed import World
from epifoundation.training.loader import read_ahead
from epifoundation.training.run import Run


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
