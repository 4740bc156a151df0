"""Fine-tuning fewer numbers than there are, for GPUs of 16 to 24 GB.

The tables hold most parameters; frozen, they need neither gradient nor moments. With `lora` the
matrices of the blocks are frozen too, and a product of two thin matrices is learned on top of each
(Hu et al. 2021). `merge` leaves a plain network again.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from epifoundation.model.network import EpiFoundation, NormedEmbedding, TransformerBlock

Trained = Literal["full", "frozen_tables", "lora"]


class LowRankChange(nn.Module):
    """Adds `up @ down` to a frozen matrix; zero at the start, since `up` is."""

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        n_out, n_in = weight.shape
        down = torch.empty(rank, n_in)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
        self.down = nn.Parameter(down.to(weight))
        self.up = nn.Parameter(weight.new_zeros(n_out, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed matrix."""
        return torch.addmm(weight, self.up, self.down)


def apply(network: EpiFoundation, trained: Trained, *, rank: int, seed: int) -> None:
    """Prepare the network for training only what is named.

    `full`: all. `frozen_tables`: all but the rows of peaks, genes, chromosomes and batches. `lora`:
    besides the tables the matrices of the blocks are frozen and given a change of rank `rank`;
    biases, norms and heads are trained. Parameters of blocks are renamed until `merge`.
    """
    if trained == "full":
        return
    for module in network.modules():
        if isinstance(module, NormedEmbedding):
            module.table.weight.requires_grad = False
    if trained == "frozen_tables":
        return
    generator = torch.Generator().manual_seed(seed)
    for linear in _block_matrices(network):
        linear.weight.requires_grad = False
        change = LowRankChange(linear.weight, rank, generator)
        parametrize.register_parametrization(linear, "weight", change)


def merge(network: EpiFoundation) -> None:
    """Add learned changes to their matrices, thaw all; undoes `apply`, keeping what was learned."""
    for linear in _block_matrices(network):
        if parametrize.is_parametrized(linear, "weight"):
            parametrize.remove_parametrizations(linear, "weight", leave_parametrized=True)
    network.requires_grad_()


def _block_matrices(network: EpiFoundation) -> list[nn.Linear]:
    return [
        module
        for block in network.modules()
        if isinstance(block, TransformerBlock)
        for module in block.modules()
        if isinstance(module, nn.Linear)
    ]
