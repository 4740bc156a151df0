"""Cells of one training step laid end to end, without padding."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class PackedCells:
    """The accessible peaks of several cells, each cell preceded by its [CLS].

    Parameters
    ----------
    token_ids
        (n_tokens,) int32; peak row + 4, or the special [CLS] as the first token of each cell.
    cu_seqlens
        (n_cells + 1,) int32; tokens of cell i are `cu_seqlens[i]:cu_seqlens[i + 1]`.
    max_seqlen
        Tokens of the longest cell.
    batch_ids
        (n_cells,) int64 row in the batch vocabulary; null where batches are not to be used.
    n_peaks
        (n_cells,) int64 peaks that are accessible in the cell, subsampled or not; null: those here.
    """

    token_ids: Tensor
    cu_seqlens: Tensor
    max_seqlen: int
    batch_ids: Tensor | None = None
    n_peaks: Tensor | None = None

    def __post_init__(self) -> None:
        offsets = self.cu_seqlens
        assert offsets.dtype == torch.int32, f"cu_seqlens is {offsets.dtype}, expected int32"
        if offsets.device.type == "cpu":  # elsewhere the check would wait for the device
            lengths = offsets.diff()
            assert int(offsets[0]) == 0, "cu_seqlens starts at 0"
            assert int(offsets[-1]) == len(self.token_ids), "cu_seqlens ends at n_tokens"
            assert bool((lengths > 0).all()), "every cell has at least its [CLS]"
            assert int(lengths.max()) <= self.max_seqlen, "max_seqlen is below a cell's length"
        if self.batch_ids is not None:
            assert len(self.batch_ids) == self.n_cells, "one batch per cell"
        if self.n_peaks is not None:
            assert len(self.n_peaks) == self.n_cells, "one number of peaks per cell"

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.cu_seqlens) - 1

    @property
    def n_tokens(self) -> int:
        """Number of tokens, [CLS] included."""
        return len(self.token_ids)

    @property
    def accessible_peaks(self) -> Tensor:
        """Accessible peaks of each cell, (n_cells,)."""
        return self.cu_seqlens.diff() - 1 if self.n_peaks is None else self.n_peaks

    def to(self, device: torch.device) -> Self:
        """Return the same cells on `device`."""
        batches, n_peaks = self.batch_ids, self.n_peaks
        return replace(
            self,
            token_ids=self.token_ids.to(device, non_blocking=True),
            cu_seqlens=self.cu_seqlens.to(device, non_blocking=True),
            batch_ids=None if batches is None else batches.to(device, non_blocking=True),
            n_peaks=None if n_peaks is None else n_peaks.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class PackedGenes:
    """Genes asked of each cell, cell after cell.

    Parameters
    ----------
    gene_ids
        (n_pairs,) int32; gene row + 4.
    cell_index
        (n_pairs,) int64; the cell of the pack each gene is asked of.
    targets
        (n_pairs,) int64; 0 or 1 in pretraining, the expression level in fine-tuning.
    """

    gene_ids: Tensor
    cell_index: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        sizes = {len(self.gene_ids), len(self.cell_index), len(self.targets)}
        assert len(sizes) == 1, f"genes, cells and targets differ in number: {sizes}"

    @property
    def n_pairs(self) -> int:
        """Number of pairs of a cell and a gene."""
        return len(self.gene_ids)

    def to(self, device: torch.device) -> Self:
        """Return the same pairs on `device`."""
        return replace(
            self,
            gene_ids=self.gene_ids.to(device, non_blocking=True),
            cell_index=self.cell_index.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
        )
