"""Parts of the network of which there is more than one; the paper's come first.

`ModelConfig` names one of each. To add another, write a class or function here, and its name into
`ModelConfig`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from epifoundation.model.packing import PackedCells


class ClsPooling(nn.Module):
    """A cell is its [CLS] token (paper 3.3.2); no other row of the last block is needed."""

    needs_every_token = False

    def forward(self, x: Tensor, cells: PackedCells) -> Tensor:  # noqa: ARG002
        """Return (n_cells, d_model), which is what it gets."""
        return x


class MeanPooling(nn.Module):
    """A cell is the mean of its tokens, the [CLS] among them."""

    needs_every_token = True

    def forward(self, x: Tensor, cells: PackedCells) -> Tensor:
        """Return (n_cells, d_model) for (n_tokens, d_model)."""
        lengths = cells.cu_seqlens.diff()
        sums = x.new_zeros(cells.n_cells, x.shape[1]).index_add(0, cell_of_token(cells), x)
        return sums / lengths[:, None]


POOLINGS: dict[str, type[ClsPooling | MeanPooling]] = {"cls": ClsPooling, "mean": MeanPooling}


class NoDepth(nn.Module):
    """The network is not told how many peaks a cell has (paper)."""

    def forward(self, x: Tensor, cells: PackedCells) -> Tensor:  # noqa: ARG002
        """Return the tokens as they are."""
        return x


class LogCountDepth(nn.Module):
    """Adds a learned multiple of ln(1 + accessible peaks) to the [CLS] token of each cell.

    Attention averages over peaks and cannot count them otherwise. Zero at the start.
    """

    USUAL = 8.4  # ln(1 + 4,500), the median cell: about 0 is learned fastest

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.zeros(d_model))

    def forward(self, x: Tensor, cells: PackedCells) -> Tensor:
        """Return (n_tokens, d_model)."""
        depth = torch.log1p(cells.accessible_peaks.float()) - self.USUAL
        added = torch.outer(depth, self.direction)  # (n_cells, d_model)
        return x.index_add(0, cells.cu_seqlens[:-1], added.to(x.dtype))


def depth_input(name: str, d_model: int) -> NoDepth | LogCountDepth:
    """Return the named way of telling the network how many peaks a cell has."""
    return LogCountDepth(d_model) if name == "log_counts" else NoDepth()


def independent(blocks: nn.ModuleList) -> None:
    """Leave every block with the weights it drew, PyTorch's defaults."""


def identical_blocks(blocks: nn.ModuleList) -> None:
    """Start every block as a copy of the first, as the authors' code does."""
    for block in blocks[1:]:
        block.load_state_dict(blocks[0].state_dict())


INITIALISATIONS: dict[str, Callable[[nn.ModuleList], None]] = {
    "independent": independent,
    "identical_blocks": identical_blocks,
}


def cell_of_token(cells: PackedCells) -> Tensor:
    """Return the cell each token belongs to, (n_tokens,) int64."""
    ends = cells.cu_seqlens[1:].contiguous()
    positions = torch.arange(cells.n_tokens, device=ends.device, dtype=ends.dtype)
    return torch.bucketize(positions, ends, right=True)
