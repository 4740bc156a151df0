"""What training cannot do, said in one line that names the cells or the setting."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from epifoundation.errors import ModelError
from epifoundation.training.dataset import CellDataset, Minibatch, Rows
from epifoundation.training.metrics import first_not_finite
from epifoundation.training.run import Run


def check_cells(run: Run) -> None:
    """Refuse to start without cells to learn from or watch, or with a cell that has no peak."""
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


def check_finite(
    run: Run, value: float, epoch: int, minibatches: list[Minibatch], totals: list[Tensor]
) -> None:
    """Refuse to go on from a loss or gradient that is no number; name minibatch and cells."""
    if math.isfinite(value):
        return
    culprit = first_not_finite(totals)
    if culprit is None:
        what, rows = "the gradient is", np.concatenate([m.rows for m in minibatches])
    else:
        what = f"the loss of micro-batch {culprit + 1} of {len(minibatches)} is"
        rows = minibatches[culprit].rows
    message = (
        f"{what} not finite in epoch {epoch + 1}, in an update of {len(rows)} cells (first:"
        f" {_names(run.training, rows, 3)}). Lower the learning rate"
        f" ({run.config.learning_rate:g}) or lengthen warmup_fraction.{_kept(run)}"
    )
    raise ModelError(message)


def check_validation(run: Run, loss: float, epoch: int) -> None:
    """Refuse to go on where the validation loss is no number though the training loss is."""
    if math.isfinite(loss):
        return
    message = (
        f"the loss of the {len(run.validation.rows)} validation cells is not finite after epoch"
        f" {epoch + 1}, though that of training is: running statistics or weights have grown too"
        f" large. Lower the learning rate ({run.config.learning_rate:g}).{_kept(run)}"
    )
    raise ModelError(message)


def _kept(run: Run) -> str:
    return "" if run.folder is None else f" The last good checkpoint is kept in {run.folder}."


@contextmanager
def memory_named(run: Run) -> Iterator[None]:
    """Turn a lack of memory within the block into a line that names what would need less."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        lacks = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not lacks and "DefaultCPUAllocator" not in str(error):
            raise
        config, longest = run.config, int(run.training.lengths.max())
        budget = config.tokens_per_minibatch or run.training.token_budget(
            config.cells_per_minibatch
        )
        message = (
            f"out of memory on {run.device} with {budget:,} tokens a micro-batch and cells of up to"
            f" {longest:,}. In this order, of this stage's settings: lower tokens_per_minibatch"
            " (and raise accumulation_steps by as much), set training.gradient_checkpointing:"
            " true, lower max_peaks; in fine-tuning trainable: frozen_tables or lora; on several"
            " GPUs training.shard_tables: true."
        )
        raise ModelError(message) from error


def _names(cells: CellDataset, rows: Rows, n: int) -> str:
    return ", ".join(cells.store.cells["cell"].iloc[rows[:n]])
