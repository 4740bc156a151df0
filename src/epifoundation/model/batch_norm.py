"""BatchNorm over all tokens of a minibatch, whichever process holds them.

In training it couples the cells that are normalised together; in eval mode it does not.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable

EPSILON = 6.1e-5  # the smallest normal half-precision number, as in the authors' code


@dataclass(frozen=True)
class Padding:
    """Positions that a padded minibatch would have had besides the real ones, all alike.

    Parameters
    ----------
    mean, mean_square
        (d_model,) of a padded position, over draws of dropout.
    count
        How many there would be in this process.
    """

    mean: Tensor
    mean_square: Tensor
    count: int


class TokenBatchNorm(nn.BatchNorm1d):
    """BatchNorm whose statistics in training are those of all processes' tokens together.

    With `padding` the statistics also count padded positions, which are never laid out: whoever
    continues a model that was trained on padded minibatches needs them.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model, eps=EPSILON)

    def forward(self, x: Tensor, padding: Padding | None = None) -> Tensor:
        """Return (n_tokens, d_model), normalised."""
        if not self.training or (padding is None and _n_processes() == 1):
            normal: Tensor = super().forward(x)
            return normal
        x = x.float()
        mean, variance, count = _statistics(x, padding)
        self._remember(mean.detach(), variance.detach(), count)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias - mean * scale, x, scale)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        unbiased = variance * (count / (count - 1))
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased, self.momentum)
        self.num_batches_tracked.add_(1)


def _statistics(x: Tensor, padding: Padding | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and biased variance, (d_model,), and how many positions they are of.

    Sums are added and differenced in float64: a variance is a small difference of large numbers.
    """
    total, squares, count = x.sum(dim=0).double(), x.square().sum(dim=0).double(), len(x)
    if padding is not None:
        total = total + padding.count * padding.mean.double()
        squares = squares + padding.count * padding.mean_square.double()
        count += padding.count
    sums = torch.cat([total, squares, total.new_full((1,), count)])
    if _n_processes() > 1:
        sums = sum_over_processes(sums)
    d_model = x.shape[1]
    n = sums[-1].detach()
    mean, mean_square = sums[:d_model] / n, sums[d_model:-1] / n
    variance = (mean_square - mean.square()).clamp_min(0)
    return mean.float(), variance.float(), n.float()


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce in both directions: every process's loss depends on every process's input."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:  # noqa: ARG004
        total = local.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


def sum_over_processes(local: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes; the gradient is summed likewise.

    The gradient is that of the sum of all processes' losses. Every process must call it as often.
    """
    total: Tensor = _SumOverProcesses.apply(local)  # type: ignore[no-untyped-call]
    return total


def _n_processes() -> int:
    ready = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if ready else 1
