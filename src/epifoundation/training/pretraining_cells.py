"""Pretraining on other cells than the atlas's training cells, for as many tokens."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from epifoundation.config import ExecutionConfig, ModelConfig, PretrainConfig
from epifoundation.data.leaks import write_learned
from epifoundation.data.splits import pretraining_cells
from epifoundation.data.store import TokenStore
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.training.dataset import rows_of
from epifoundation.training.pretrain import pretrain

logger = logging.getLogger(__name__)


def pretrain_on(
    store: TokenStore,
    split: pd.DataFrame,
    vocabulary: Vocabulary,
    model: ModelConfig,
    config: PretrainConfig,
    execution: ExecutionConfig,
    *,
    variant: str,
    without: Sequence[str],
    test_too: bool,
    seed: int,
    folder: Path,
    start_from: str | None,
    output: Path | str,
) -> None:
    """Write the directory of a pretrained model, and in it which cells it learned from.

    For `without` and `test_too` see `choose_cells`; for the others, `pretrain`.
    """
    split, config = choose_cells(
        store, split, config, without=without, test_too=test_too, max_peaks=model.max_peaks
    )
    trained = pretrain(
        *(store, split, vocabulary, model, config, execution),
        variant=variant,
        seed=seed,
        folder=folder,
        start_from=start_from,
    )
    trained.save(output)
    write_learned(output, store, split, trained=variant != "no_pretrain", start_from=start_from)


def choose_cells(
    store: TokenStore,
    split: pd.DataFrame,
    config: PretrainConfig,
    *,
    without: Sequence[str],
    test_too: bool,
    max_peaks: int,
) -> tuple[pd.DataFrame, PretrainConfig]:
    """Return the split that pretraining reads, and its settings.

    Without some tissues there are more epochs, so that as many tokens are read as with them, to
    half an epoch.
    """
    tissues = store.cells["tissue"].iloc[store.rows_of(split["cell"])]
    chosen = pretraining_cells(split, tissues, without=without, test_too=test_too)
    if not without:
        return chosen, config
    most = min(max_peaks, config.max_peaks or max_peaks)
    before, after = (tokens_per_epoch(store, one, most) for one in (split, chosen))
    epochs = max(1, round(config.epochs * before / after))
    logger.info(
        "without %s: %d epochs of %d tokens, for %d of %d",
        *(", ".join(without), epochs, after, config.epochs, before),
    )
    patience = max(1, round(config.patience * epochs / config.epochs))
    return chosen, config.model_copy(update={"epochs": epochs, "patience": patience})


def tokens_per_epoch(store: TokenStore, split: pd.DataFrame, max_peaks: int) -> int:
    """Return how many peaks are read of all training cells in an epoch."""
    lengths = np.diff(np.asarray(store.peak_indptr))[rows_of(store, split, "train")]
    return int(np.minimum(lengths, max_peaks).sum())
