"""A small network and cells for it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from epifoundation.config import ModelConfig
from epifoundation.data import vocabulary
from epifoundation.model.network import EpiFoundation, Sizes
from epifoundation.model.packing import PackedCells, PackedGenes

CELLS = ((5, 9, 23, 40), (7,), (4, 5, 6, 7, 8, 50, 53), (11, 12, 13))
N_PEAKS, N_GENES = 50, 30


def _build(**options: object) -> EpiFoundation:
    torch.manual_seed(1)
    names = ModelConfig.model_fields.keys() & options.keys()
    config = ModelConfig(
        **{
            "n_layers": 2,
            "n_heads": 2,
            "d_model": 16,
            "d_feedforward": 32,
            "dropout": 0.1,
            "max_peaks": 50,
            "max_genes": 20,
            "embedding_std": 1.0,
            "initialisation": "independent",
            "batch_norm": "real",
            "pooling": "cls",
            "depth_input": "none",
            **{name: options.pop(name) for name in names},
        }
    )
    network = EpiFoundation(
        config,
        Sizes(n_peaks=N_PEAKS, n_genes=N_GENES, n_chromosomes=3, n_batches=2, n_cell_types=4),
        peak_chromosomes=torch.cat([torch.arange(4), torch.arange(N_PEAKS) % 3 + 4]),
        gene_chromosomes=torch.cat([torch.arange(4), torch.arange(N_GENES) % 3 + 4]),
        **{"heads": ("genes", "cell_types", "expression"), **options},
    )
    for norm in (network.peak_batch_norm, network.gene_batch_norm):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture
def build() -> Callable[..., EpiFoundation]:
    """Make a network in eval mode; options are fields of its configuration or its own."""
    return _build


def _pack(cells: tuple[tuple[int, ...], ...] = CELLS) -> PackedCells:
    tokens = [token for cell in cells for token in [vocabulary.CLS, *cell]]
    lengths = [len(cell) + 1 for cell in cells]
    return PackedCells(
        token_ids=torch.tensor(tokens, dtype=torch.int32),
        cu_seqlens=torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32),
        max_seqlen=max(lengths),
        batch_ids=torch.arange(len(cells)) % 2,
    )


@pytest.fixture
def pack() -> Callable[..., PackedCells]:
    """Lay cells, given by their peak tokens, end to end; by default four of unlike length."""
    return _pack


@pytest.fixture
def genes() -> PackedGenes:
    """Six genes asked of each of four cells."""
    generator = torch.Generator().manual_seed(3)
    asked = [torch.randperm(N_GENES, generator=generator)[:6] + 4 for _ in range(4)]
    return PackedGenes(
        gene_ids=torch.cat(asked).int(),
        cell_index=torch.arange(4).repeat_interleave(6),
        targets=torch.tensor([0, 1]).repeat(12),
    )
