"""Losses as a sum and a count; the training loop divides, once, over all that an update sees."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Loss:
    """Sum over examples, how many there were, and how many were right (null: no such notion)."""

    total: Tensor
    count: int
    n_correct: Tensor | None = None


def cross_entropy(logits: Tensor, targets: Tensor) -> Loss:
    """Return the summed cross-entropy of (n, n_classes) logits (eq. 10 and 12)."""
    total = functional.cross_entropy(logits.float(), targets, reduction="sum")
    with torch.no_grad():
        n_correct = (logits.argmax(dim=1) == targets).sum()
    return Loss(total, len(targets), n_correct)


def squared_error(predicted: Tensor, targets: Tensor) -> Loss:
    """Return the summed squared error of (n,) predicted levels (eq. 14)."""
    return Loss(
        functional.mse_loss(predicted.float(), targets.float(), reduction="sum"), len(targets)
    )
