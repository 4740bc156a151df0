"""Pretraining: align peaks with genes on the atlas's training cells."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epifoundation.config import ExecutionConfig, ModelConfig, TrainConfig
from epifoundation.data.store import TokenStore
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.errors import ModelError
from epifoundation.hub import Design, FoundationModel
from epifoundation.training.dataset import CellDataset, rows_of
from epifoundation.training.loop import finish, train
from epifoundation.training.objectives import align_genes
from epifoundation.training.run import Run

VARIANTS = {  # use_batch, use_chromosome
    "full": (True, True),
    "no_batch": (False, True),  # the two ablations (paper Table 4)
    "no_chromosome": (True, False),
    "no_pretrain": (True, True),  # the model as it is before training, to fine-tune from
}


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
) -> FoundationModel:
    """Return the model pretrained on the `train` cells of `split`, watched on `validation`.

    `store` holds the atlas's cells; `test` cells are not read. The variant `no_pretrain` is
    returned as it was initialised. Checkpoints and step metrics lie in `folder`.
    """
    use_batch, use_chromosome = VARIANTS[variant]
    design = Design(model, ("genes",), use_batch=use_batch, use_chromosome=use_chromosome)
    untrained = FoundationModel.build(design, vocabulary, seed=seed)
    untrained.check_store(store)
    if variant == "no_pretrain":
        return finish(untrained, [], stage="pretrain", variant=variant, seed=str(seed))

    def cells(part: str) -> CellDataset:
        return CellDataset(
            store=store,
            rows=rows_of(store, split, part),
            max_peaks=min(model.max_peaks, config.max_peaks or model.max_peaks),
            seed=seed,
            max_genes=model.max_genes,
            batch_ids=batch_ids(store, vocabulary) if use_batch else None,
        )

    run = Run(
        network=untrained.network,
        training=cells("train"),
        validation=cells("validation"),
        objective=align_genes,
        config=config,
        execution=execution,
        seed=seed,
        folder=folder,
    )
    return finish(untrained, train(run), stage="pretrain", variant=variant, seed=str(seed))


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
