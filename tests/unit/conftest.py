"""What unit tests of several folders share."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from epifoundation.config import ExecutionConfig, ModelConfig, TrainConfig
from epifoundation.data.splits import split_cells
from epifoundation.data.store import TokenStore
from epifoundation.data.tokens import write_store
from epifoundation.data.vocabulary import Vocabulary, build_vocabulary
from epifoundation.simulate import simulate_multiome


@dataclass(frozen=True)
class TinyAtlas:
    """A token store of simulated cells, with what belongs to it."""

    store: TokenStore
    split: pd.DataFrame
    vocabulary: Vocabulary
    folder: Path


@pytest.fixture(scope="session")
def tiny_atlas(tmp_path_factory: pytest.TempPathFactory) -> TinyAtlas:
    """Sixty cells of two batches, some 300 peaks and 150 genes."""
    cells = simulate_multiome(0, 60, n_genes=150, n_peaks=300, n_fragments=150, n_umis=200)
    vocabulary = build_vocabulary(cells)
    folder = tmp_path_factory.mktemp("atlas") / "store"
    write_store(cells, vocabulary, folder)
    split = split_cells(
        cells.obs_names, seed=0, dataset="tiny", validation_fraction=0.2, test_fraction=0.2
    )
    return TinyAtlas(TokenStore.open(folder), split, vocabulary, folder)


@pytest.fixture(scope="session")
def tiny_model() -> ModelConfig:
    """A network that trains in seconds; some cells have more peaks than it reads."""
    return ModelConfig(
        n_layers=2,
        n_heads=2,
        d_model=16,
        d_feedforward=32,
        dropout=0.1,
        max_peaks=60,
        max_genes=40,
        embedding_std=1.0,
        initialisation="independent",
        batch_norm="real",
        pooling="cls",
        depth_input="none",
    )


@pytest.fixture(scope="session")
def tiny_training() -> TrainConfig:
    """Two epochs of a few updates."""
    return TrainConfig(
        epochs=2,
        learning_rate=1e-3,
        min_learning_rate=1e-5,
        warmup_fraction=0.1,
        cells_per_minibatch=4,
        accumulation_steps=2,
        clip_norm=100,
        precision="fp32",
        patience=5,
        schedule="cosine",
        tokens_per_minibatch=None,
        max_peaks=None,
    )


@pytest.fixture(scope="session")
def tiny_execution() -> ExecutionConfig:
    """One process on the CPU, reading as it goes."""
    return ExecutionConfig(
        device="cpu",
        n_devices=1,
        shard_tables=False,
        n_workers=0,
        gradient_checkpointing=False,
        compile=False,
        checkpoint_minutes=5,
        checkpoint_updates=None,
        keep_checkpoints=2,
        changed_settings="anew",
        log_every_updates=1,
        tensorboard=False,
    )
