"""From the token store to packed minibatches; every draw is fixed by (seed, epoch, cell)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from epifoundation.data.store import TokenStore
from epifoundation.data.vocabulary import CLS, N_SPECIAL
from epifoundation.model.packing import PackedCells, PackedGenes

MINIBATCHES_PER_POOL = 50  # at least; sorted by length within, so that an update mixes lengths
WITHOUT_EPOCH = 0  # stream of draws for cells that are read, not trained on
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Minibatch:
    """Cells of one forward pass with what is asked of them.

    Parameters
    ----------
    rows
        (n_cells,) row of each cell in the token store.
    genes
        Supervised genes; null in cell-type fine-tuning and at inference.
    cell_types
        (n_cells,) int64 ids; null elsewhere.
    """

    rows: Rows
    cells: PackedCells
    genes: PackedGenes | None = None
    cell_types: Tensor | None = None

    @property
    def n_examples(self) -> int:
        """Number of terms in the loss: genes where genes are asked, else cells."""
        return self.cells.n_cells if self.genes is None else self.genes.n_pairs

    def to(self, device: torch.device) -> Self:
        """Return the same minibatch on `device`."""
        return replace(
            self,
            cells=self.cells.to(device),
            genes=None if self.genes is None else self.genes.to(device),
            cell_types=None if self.cell_types is None else self.cell_types.to(device),
        )


@dataclass(frozen=True, eq=False)
class CellDataset:
    """Some cells of a token store, and what is read of them.

    Parameters
    ----------
    rows
        (n,) rows of the store.
    max_peaks
        Cells with more peaks are subsampled, afresh each epoch.
    max_genes
        Most genes asked of a cell, half of them expressed; null: no gene is asked.
    gene_values
        Target of each entry of `store.gene_tokens` (an expression level); null: 1, expressed.
    batch_ids, cell_type_ids
        Id of every cell of the store; null where not used.
    """

    store: TokenStore
    rows: Rows
    max_peaks: int
    seed: int
    max_genes: int | None = None
    gene_values: NDArray[np.uint8] | None = None
    batch_ids: NDArray[np.int64] | None = None
    cell_type_ids: NDArray[np.int64] | None = None

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each cell as read, [CLS] included, shape (n,)."""
        n_peaks = self.store.peak_indptr[self.rows + 1] - self.store.peak_indptr[self.rows]
        return np.asarray(np.minimum(n_peaks, self.max_peaks) + 1, np.int64)

    def token_budget(self, cells_per_minibatch: int) -> int:
        """Return the tokens of a minibatch that holds that many cells of mean length."""
        return max(1, round(cells_per_minibatch * float(self.lengths.mean())))

    def shuffled(
        self, epoch: int, cells_per_minibatch: int, tokens_per_minibatch: int | None = None
    ) -> list[Rows]:
        """Return the rows of each minibatch of an epoch, in training order.

        `tokens_per_minibatch` is its budget; null: that of so many cells of mean length.
        """
        generator = np.random.default_rng([self.seed, epoch])
        budget = tokens_per_minibatch or self.token_budget(cells_per_minibatch)
        if tokens_per_minibatch is not None:
            cells_per_minibatch = max(1, round(budget / float(self.lengths.mean())))
        return [
            self.rows[members]
            for members in cut_minibatches(
                self.lengths,
                budget,
                pool_size=MINIBATCHES_PER_POOL * cells_per_minibatch,
                generator=generator,
            )
        ]

    def in_order_of_length(
        self, cells_per_minibatch: int, tokens_per_minibatch: int | None = None
    ) -> list[Rows]:
        """Return the rows of each minibatch, shortest cells first."""
        order = np.argsort(self.lengths, kind="stable")
        budget = tokens_per_minibatch or self.token_budget(cells_per_minibatch)
        return [self.rows[order[part]] for part in within_budget(self.lengths[order], budget)]

    def read(self, rows: Rows, epoch: int = WITHOUT_EPOCH) -> Minibatch:
        """Return the minibatch of the given rows of the store."""
        peaks, genes, values = [], [], []
        for row in rows:
            generator = np.random.default_rng([self.seed, epoch, int(row)])
            peaks.append(self._peaks(int(row), generator))
            if self.max_genes is not None:
                asked, targets = self._genes(int(row), self.max_genes, generator)
                genes.append(asked)
                values.append(targets)
        batches, types = self.batch_ids, self.cell_type_ids
        cells = pack_cells(peaks, None if batches is None else batches[rows])
        n_peaks = self.store.peak_indptr[rows + 1] - self.store.peak_indptr[rows]
        return Minibatch(
            rows=rows,
            cells=replace(cells, n_peaks=torch.from_numpy(n_peaks)),
            genes=pack_genes(genes, values) if self.max_genes is not None else None,
            cell_types=None if types is None else torch.from_numpy(types[rows]),
        )

    def _peaks(self, row: int, generator: np.random.Generator) -> NDArray[np.int32]:
        start, end = self.store.peak_indptr[row : row + 2]
        tokens = np.asarray(self.store.peak_tokens[start:end])
        if len(tokens) > self.max_peaks:
            tokens = generator.choice(tokens, self.max_peaks, replace=False, shuffle=False)
        return tokens

    def _genes(
        self, row: int, max_genes: int, generator: np.random.Generator
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        start, end = self.store.gene_indptr[row : row + 2]
        expressed = self.store.gene_tokens[start:end].astype(np.int32)
        if self.gene_values is None:
            values = np.ones(len(expressed), np.int64)
        else:
            values = self.gene_values[start:end].astype(np.int64)
        n_each = min(max_genes // 2, len(expressed))
        if n_each < len(expressed):
            kept = generator.choice(len(expressed), n_each, replace=False, shuffle=False)
            positive, values = expressed[kept], values[kept]
        else:
            positive = expressed
        negative = draw_unexpressed(expressed, self.store.gene_chromosomes.size, n_each, generator)
        asked = np.concatenate([positive, negative])
        return asked, np.concatenate([values, np.zeros(len(negative), np.int64)])


def rows_of(store: TokenStore, split: pd.DataFrame, part: str) -> Rows:
    """Return the rows of the store's cells that are in a part of the split, ascending."""
    return np.sort(store.rows_of(split.loc[split["split"] == part, "cell"]))


def draw_unexpressed(
    expressed: NDArray[np.int32], n_tokens: int, wanted: int, generator: np.random.Generator
) -> NDArray[np.int32]:
    """Return up to `wanted` distinct gene tokens that are not in `expressed`.

    `n_tokens` counts the special tokens, which are never drawn.
    """
    free = np.ones(n_tokens, bool)
    free[:N_SPECIAL] = False
    free[expressed] = False
    candidates = np.flatnonzero(free)
    if wanted < len(candidates):
        candidates = candidates[
            generator.choice(len(candidates), wanted, replace=False, shuffle=False)
        ]
    return candidates.astype(np.int32)


def pack_cells(
    peaks: list[NDArray[np.int32]], batch_ids: NDArray[np.int64] | None = None
) -> PackedCells:
    """Return the cells end to end, a [CLS] before the peak tokens of each."""
    lengths = np.array([len(tokens) + 1 for tokens in peaks])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    token_ids = np.empty(offsets[-1], np.int32)
    token_ids[offsets[:-1]] = CLS
    is_peak = np.ones(len(token_ids), bool)
    is_peak[offsets[:-1]] = False
    token_ids[is_peak] = np.concatenate(peaks)
    return PackedCells(
        token_ids=torch.from_numpy(token_ids),
        cu_seqlens=torch.from_numpy(offsets),
        max_seqlen=int(lengths.max()),
        batch_ids=None if batch_ids is None else torch.from_numpy(batch_ids),
    )


def pack_genes(genes: list[NDArray[np.int32]], values: list[NDArray[np.int64]]) -> PackedGenes:
    """Return the genes asked of each cell, cell after cell."""
    cell_index = np.repeat(np.arange(len(genes)), [len(tokens) for tokens in genes])
    return PackedGenes(
        gene_ids=torch.from_numpy(np.concatenate(genes)),
        cell_index=torch.from_numpy(cell_index),
        targets=torch.from_numpy(np.concatenate(values)),
    )


def cut_minibatches(
    lengths: NDArray[np.int64], budget: int, *, pool_size: int, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return positions of the cells of each minibatch, in random order.

    Cells are dealt at random into pools of `pool_size` cells or more, sorted by length in a pool
    and cut where the next cell would exceed `budget` tokens. A cell longer than the budget is a
    minibatch of its own.
    """
    order = generator.permutation(len(lengths))
    n_pools = max(1, len(order) // pool_size)
    minibatches: list[NDArray[np.int64]] = []
    for pool in np.array_split(order, n_pools):
        by_length = pool[np.argsort(lengths[pool], kind="stable")]
        minibatches += [by_length[part] for part in within_budget(lengths[by_length], budget)]
    return [minibatches[i] for i in generator.permutation(len(minibatches))]


def within_budget(lengths: Sequence[int] | NDArray[np.int64], budget: int) -> Iterator[slice]:
    """Yield runs of cells of at most `budget` tokens, and of one cell at least."""
    start, tokens = 0, 0
    for position, length in enumerate(lengths):
        if position > start and tokens + length > budget:
            yield slice(start, position)
            start, tokens = position, 0
        tokens += int(length)
    if len(lengths):
        yield slice(start, len(lengths))
