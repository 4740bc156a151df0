"""What training cannot do, said in one line that names the cells or the setting."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from epifoundation.config import FinetuneConfig, ModelConfig
from epifoundation.errors import ModelError
from epifoundation.training.dataset import CellDataset, Minibatch, Rows
from epifoundation.training.distributed import World
from epifoundation.training.metrics import first_not_finite
from epifoundation.training.run import Run


class NotFiniteError(ModelError):
    """Training has left the numbers; what was saved before is good."""


def check_cells(run: Run) -> None:
    """Refuse to start without cells to learn from or watch, or with one that cannot be read."""
    if not len(run.training.rows):
        message = "no training cell is left; check the split and the labels of this data set"
        raise ModelError(message)
    if not len(run.validation.rows):
        message = "no validation cell is left to watch training with; raise validation_fraction"
        raise ModelError(message)
    for part, cells in (("training", run.training), ("validation", run.validation)):
        empty = cells.rows[cells.lengths <= 1]
        if len(empty):
            message = (
                f"{len(empty)} of {len(cells.rows)} {part} cells have no accessible peak (first:"
                f" {_names(cells, empty, 1)}); nothing can be read of them. Raise"
                " qc.min_atac_reads, or leave them out of the split."
            )
            raise ModelError(message)
        budget, longest = run.config.tokens_per_minibatch, int(cells.lengths.max())
        if budget is not None and budget < longest:
            message = (
                f"tokens_per_minibatch is {budget:,}, but a {part} cell has {longest:,} tokens"
                f" ({_names(cells, cells.rows[cells.lengths == longest], 1)}). Of this stage's"
                f" settings raise tokens_per_minibatch to {longest:,} or more, or lower max_peaks"
                f" to {budget - 1:,}."
            )
            raise ModelError(message)


def check_rank(model: ModelConfig, config: FinetuneConfig, stage: str) -> None:
    """Refuse low-rank changes of a rank that the matrices of the blocks do not have."""
    if config.trainable == "lora" and config.lora_rank > model.largest_rank:
        message = (
            f"{stage}.lora_rank is {config.lora_rank}, but matrices of this model have a rank of"
            f" {model.largest_rank} at most. Lower it (8 is usual), or set {stage}.trainable:"
            " frozen_tables."
        )
        raise ModelError(message)


def check_finite(
    run: Run,
    world: World,
    value: float,
    epoch: int,
    minibatches: list[Minibatch],
    totals: list[Tensor],
) -> None:
    """Refuse to go on from a loss or gradient that is no number; name minibatch and cells.

    `value` is that of all processes, so that all of them come here together.
    """
    if math.isfinite(value):
        return
    culprit = first_not_finite(totals)
    chosen = minibatches if culprit is None else [minibatches[culprit]]
    rows_of = world.share((culprit, [row for m in chosen for row in m.rows.tolist()]))
    culprits = [(one, rows) for one, rows in rows_of if one is not None]
    if culprits:
        which, rows = culprits[0]
        what = f"the loss of minibatch {which + 1} of {len(minibatches)} is"
        where = f"; it has {len(rows)} cells"
    else:
        rows = list(dict.fromkeys(row for _, rows in rows_of for row in rows))
        what, where = "the gradient is", f", in an update of {len(rows)} cells"
    message = (
        f"{what} not finite in epoch {epoch + 1}{where} (first:"
        f" {_names(run.training, np.array(rows), 3)}). Lower the learning rate"
        f" ({run.config.learning_rate:g}) or lengthen warmup_fraction."
    )
    raise NotFiniteError(message)


def check_validation(run: Run, loss: float, epoch: int) -> None:
    """Refuse to go on where the validation loss is no number though the training loss is."""
    if math.isfinite(loss):
        return
    message = (
        f"the loss of the {len(run.validation.rows)} validation cells is not finite after epoch"
        f" {epoch + 1}, though that of training is: running statistics or weights have grown too"
        f" large. Lower the learning rate ({run.config.learning_rate:g})."
    )
    raise NotFiniteError(message)


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is full: Python's, torch's, CUDA's or cuBLAS's."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        said in str(error)
        for said in ("DefaultCPUAllocator", "CUDA error: out of memory", "ALLOC_FAILED")
    )


@dataclass
class Failures:
    """What is known of a training when it fails: `kept` says what is left on the disk."""

    kept: Callable[[], str] = str


@contextmanager
def failures_named(run: Run) -> Iterator[Failures]:
    """Say of a training that left the numbers what is kept, and of a lack of memory what helps."""
    failures = Failures()
    try:
        yield failures
    except NotFiniteError as error:
        raise ModelError(f"{error} {failures.kept()}".rstrip()) from error
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        config, longest = run.config, int(run.training.lengths.max())
        budget = config.tokens_per_minibatch or run.training.token_budget(
            config.cells_per_minibatch
        )
        message = (
            f"out of memory on {run.device} with {budget:,} tokens a minibatch and cells of up to"
            f" {longest:,}. In this order, of this stage's settings: lower tokens_per_minibatch"
            " (and raise accumulation_steps by as much), set training.gradient_checkpointing:"
            " true, lower max_peaks; in fine-tuning trainable: frozen_tables or lora; on several"
            " GPUs training.shard_tables: true."
        )
        raise ModelError(message) from error


def _names(cells: CellDataset, rows: Rows, n: int) -> str:
    return ", ".join(cells.store.cells["cell"].iloc[rows[:n]])
