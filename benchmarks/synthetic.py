"""A token store of random cells, memory-mapped as a real one, and a network that reads it."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from epifoundation.config import ModelConfig
from epifoundation.data.store import ARRAYS, TokenStore
from epifoundation.data.vocabulary import N_SPECIAL
from epifoundation.model.network import EpiFoundation, Head, Sizes

N_CHROMOSOMES, N_BATCHES = 24, 45
SPREAD = 0.5963  # of ln(peaks): a median of 4,500 and 95 % below 12,000
MOST_GENES_EXPRESSED = 0.4  # of the vocabulary, so that as many unexpressed are left


def synthetic_store(
    folder: Path, sizes: Sizes, n_cells: int, *, mean_peaks: int, mean_genes: int, seed: int = 0
) -> TokenStore:
    """Return random cells whose numbers of peaks and genes are log-normal with these means."""
    rng = np.random.default_rng(seed)
    n_peaks = _log_normal(rng, n_cells, mean_peaks, sizes.n_peaks // 2)
    most = int(MOST_GENES_EXPRESSED * sizes.n_genes)
    n_genes = _log_normal(rng, n_cells, min(mean_genes, most), most)
    peak_indptr, peaks = _tokens(rng, n_peaks, sizes.n_peaks)
    gene_indptr, genes = _tokens(rng, n_genes, sizes.n_genes)
    arrays = {
        "peak_indptr": peak_indptr,
        "peak_tokens": peaks,
        "gene_indptr": gene_indptr,
        "gene_tokens": genes,
        "gene_counts": np.ones(len(genes)),
        "peak_chromosomes": chromosomes(sizes.n_peaks).numpy(),
        "gene_chromosomes": chromosomes(sizes.n_genes).numpy(),
    }
    for name, dtype in ARRAYS.items():
        np.save(folder / f"{name}.npy", arrays[name].astype(dtype))
    mapped = {name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in ARRAYS}
    cells = pd.DataFrame({"cell": [f"synthetic#{i}" for i in range(n_cells)]})
    return TokenStore(**mapped, cells=cells, vocabulary_hash="synthetic")


def _log_normal(rng: np.random.Generator, n: int, mean: int, most: int) -> NDArray[np.int64]:
    drawn = mean * np.exp(SPREAD * rng.standard_normal(n) - SPREAD**2 / 2)
    return np.clip(drawn.round().astype(np.int64), 1, most)


def _tokens(
    rng: np.random.Generator, wanted: NDArray[np.int64], n_features: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return indptr and ascending distinct tokens, of each cell about as many as wanted."""
    cells = [np.unique(rng.integers(0, n_features, n)).astype(np.int32) for n in wanted]
    indptr = np.concatenate([[0], np.cumsum([len(cell) for cell in cells])])
    return indptr, np.concatenate(cells) + N_SPECIAL


def chromosomes(n_features: int) -> torch.Tensor:
    """Return the chromosome id of each token of so many features."""
    of_features = torch.arange(n_features) * N_CHROMOSOMES // n_features + N_SPECIAL
    return torch.cat([torch.arange(N_SPECIAL), of_features])


def synthetic_network(
    config: ModelConfig, sizes: Sizes, *, heads: tuple[Head, ...] = ("genes",), seed: int = 0
) -> EpiFoundation:
    """Return a network of these sizes with random weights."""
    torch.manual_seed(seed)
    return EpiFoundation(
        config,
        sizes,
        peak_chromosomes=chromosomes(sizes.n_peaks),
        gene_chromosomes=chromosomes(sizes.n_genes),
        heads=heads,
    )


def paper_network(**changed: object) -> ModelConfig:
    """Return the network of the paper, some values changed."""
    values: dict[str, object] = {
        "n_layers": 6,
        "n_heads": 8,
        "d_model": 512,
        "d_feedforward": 1024,
        "dropout": 0.15,
        "max_peaks": 12_000,
        "max_genes": 8_000,
        "embedding_std": 1.0,
        "initialisation": "independent",
        "batch_norm": "real",
        "pooling": "cls",
        "depth_input": "none",
    }
    return ModelConfig.model_validate(values | changed)
