"""Pretraining: align peaks with genes on the atlas's training cells."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epifoundation.config import ExecutionConfig, ModelConfig, TrainConfig
from epifoundation.data.store import TokenStore
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.errors import ModelError
from epifoundation.hub import FoundationModel
from epifoundation.training.dataset import CellDataset, rows_of
from epifoundation.training.distributed import devices_of
from epifoundation.training.loop import finish, train
from epifoundation.training.objectives import align_genes
from epifoundation.training.run import Run
from epifoundation.training.start import given_start, random_start


def pretrain(
    store: TokenStore,
    split: pd.DataFrame,
    vocabulary: Vocabulary,
    model: ModelConfig,
    config: TrainConfig,
    execution: ExecutionConfig,
    *,
    variant: str,
    seed: int,
    folder: Path | None = None,
    start_from: Path | str | None = None,
) -> FoundationModel:
    """Return the model pretrained on the `train` cells of `split`, watched on `validation`.

    `store` holds the atlas's cells; `test` cells are not read. The variant `no_pretrain` is
    returned as it was initialised, at random. Checkpoints and step metrics lie in `folder`.
    `start_from` is a model directory to go on from.
    """
    if variant != "no_pretrain":
        devices_of(execution, execution.n_devices)  # refuses before anything is built
    told = {"stage": "pretrain", "variant": variant, "seed": str(seed)}
    if start_from is None or variant == "no_pretrain":
        start = random_start(vocabulary, model, variant=variant, seed=seed)
    else:
        start = given_start(start_from, vocabulary, model, variant=variant, seed=seed)
        told["started_from"] = str(start_from)
    start.check_store(store)
    if variant == "no_pretrain":
        return finish(start, [], **told)

    most_peaks, most_genes = start.design.config.max_peaks, start.design.config.max_genes

    def cells(part: str) -> CellDataset:
        return CellDataset(
            store=store,
            rows=rows_of(store, split, part),
            max_peaks=min(most_peaks, config.max_peaks or most_peaks),
            seed=seed,
            max_genes=most_genes,
            batch_ids=batch_ids(store, vocabulary) if start.design.use_batch else None,
        )

    run = Run(
        network=start.network,
        training=cells("train"),
        validation=cells("validation"),
        objective=align_genes,
        config=config,
        execution=execution,
        seed=seed,
        folder=folder,
    )
    return finish(start, train(run), **told)


def batch_ids(store: TokenStore, vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Return the batch id of every cell of the store, shape (n_cells,)."""
    ids = pd.Index(vocabulary.batches).get_indexer(pd.Index(store.cells["batch"]))
    if (ids < 0).any():
        example = store.cells["batch"][ids < 0].iloc[0]
        message = (
            f"{(ids < 0).sum()} of {len(ids)} cells are of a batch that is not in the vocabulary"
            f" (first: {example}). Pretrain on the cells of the atlas, or rebuild the vocabulary."
        )
        raise ModelError(message)
    return np.asarray(ids, np.int64)
