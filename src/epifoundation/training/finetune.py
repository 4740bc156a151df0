"""Fine-tuning: a new head on the pretrained encoder, all of which goes on learning.

Batches are not used: the batch embedding belongs to pretraining (paper 3.3.2 and eq. 13).
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from epifoundation.config import TrainConfig
from epifoundation.contracts import NO_TYPE
from epifoundation.data.store import TokenStore, expression_levels
from epifoundation.errors import ModelError
from epifoundation.hub import Design, FoundationModel
from epifoundation.model.network import Head
from epifoundation.training.dataset import CellDataset, rows_of
from epifoundation.training.loop import Run, best_device, finish, train
from epifoundation.training.objectives import Objective, name_cell_types, predict_levels

logger = logging.getLogger(__name__)


def finetune_cell_type(
    pretrained: FoundationModel,
    store: TokenStore,
    split: pd.DataFrame,
    config: TrainConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
) -> FoundationModel:
    """Return a model that names the cell types found among the `train` cells (eq. 11, 12)."""
    pretrained.check_store(store)
    train_rows = rows_of(store, split, "train")
    labels = store.cells["cell_type"]
    cell_types = tuple(sorted(set(labels.iloc[train_rows]) - set(NO_TYPE)))
    if len(cell_types) < 2:
        message = (
            f"the {len(train_rows)} training cells have {len(cell_types)} cell types; two or more"
            " are needed to learn them. Check the labels of this data set."
        )
        raise ModelError(message)
    ids = np.asarray(pd.Index(cell_types).get_indexer(pd.Index(labels)), np.int64)

    def cells(part: str) -> CellDataset:
        rows = rows_of(store, split, part)
        known = rows[ids[rows] >= 0]
        if len(known) < len(rows):
            logger.info("%s: %d cells of no known type left out", part, len(rows) - len(known))
        return CellDataset(
            store=store,
            rows=known,
            max_peaks=pretrained.design.config.max_peaks,
            seed=seed,
            cell_type_ids=ids,
        )

    model = with_new_head(pretrained, "cell_types", cell_types=cell_types, seed=seed)
    return _finetune(model, cells, name_cell_types, config, seed, checkpoint)


def finetune_expression(
    pretrained: FoundationModel,
    store: TokenStore,
    split: pd.DataFrame,
    config: TrainConfig,
    *,
    n_bins: int,
    seed: int,
    checkpoint: Path | None = None,
) -> FoundationModel:
    """Return a model that predicts expression levels 0 to `n_bins` - 1 (eq. 13, 14).

    As in the authors' code, half of the genes asked of a cell are expressed.
    """
    pretrained.check_store(store)
    levels = expression_levels(store, n_bins).data  # one for each entry of store.gene_tokens

    def cells(part: str) -> CellDataset:
        return CellDataset(
            store=store,
            rows=rows_of(store, split, part),
            max_peaks=pretrained.design.config.max_peaks,
            seed=seed,
            max_genes=pretrained.design.config.max_genes,
            gene_values=levels,
        )

    model = with_new_head(pretrained, "expression", seed=seed)
    return _finetune(model, cells, predict_levels, config, seed, checkpoint)


def with_new_head(
    pretrained: FoundationModel, head: Head, *, cell_types: tuple[str, ...] = (), seed: int
) -> FoundationModel:
    """Return a model with the pretrained encoder and a fresh head; others are dropped."""
    before = pretrained.design
    design = Design(before.config, (head,), before.use_batch, before.use_chromosome)
    model = FoundationModel.build(design, pretrained.vocabulary, cell_types=cell_types, seed=seed)
    fresh = model.network.state_dict()
    learned = pretrained.network.state_dict()
    model.network.load_state_dict({name: learned.get(name, fresh[name]) for name in fresh})
    new = sorted({name.partition(".")[0] for name in fresh if name not in learned})
    logger.info("fine-tuning for %s; new: %s", head, ", ".join(new))
    return model


def _finetune(
    model: FoundationModel,
    cells: Callable[[str], CellDataset],
    objective: Objective,
    config: TrainConfig,
    seed: int,
    checkpoint: Path | None,
) -> FoundationModel:
    network = model.network.to(best_device())
    run = Run(network, cells("train"), cells("validation"), objective, config, seed, checkpoint)
    history = train(run)
    return finish(model, history, stage=f"finetune_{model.design.heads[0]}", seed=str(seed))
