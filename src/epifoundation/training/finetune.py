"""Fine-tuning: a new head on the pretrained encoder, which goes on learning too, or mostly not.

Batches are not used: the batch embedding belongs to pretraining (paper 3.3.2 and eq. 13).
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from epifoundation.config import ExecutionConfig, FinetuneConfig
from epifoundation.contracts import NO_TYPE
from epifoundation.data.store import TokenStore, expression_levels
from epifoundation.errors import ModelError
from epifoundation.hub import Design, FoundationModel
from epifoundation.model import adapters
from epifoundation.model.network import Head
from epifoundation.training.dataset import CellDataset, Rows, rows_of
from epifoundation.training.loop import finish, train
from epifoundation.training.objectives import Objective, name_cell_types, predict_levels
from epifoundation.training.refusals import check_rank
from epifoundation.training.run import Run

logger = logging.getLogger(__name__)


def finetune_cell_type(
    pretrained: FoundationModel,
    store: TokenStore,
    split: pd.DataFrame,
    config: FinetuneConfig,
    execution: ExecutionConfig,
    *,
    seed: int,
    folder: Path | None = None,
) -> FoundationModel:
    """Return a model that names the cell types found among the `train` cells (eq. 11, 12)."""
    check_rank(pretrained.design.config, config, "finetune_cell_type")
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
        unknown = labels.iloc[rows[ids[rows] < 0]]
        if len(unknown):
            logger.warning(
                "%s: %d of %d cells left out, whose type no training cell has: %s",
                part,
                len(unknown),
                len(rows),
                ", ".join(sorted(set(unknown))),
            )
        return CellDataset(
            store=store,
            rows=rows[ids[rows] >= 0],
            max_peaks=_max_peaks(pretrained, config),
            seed=seed,
            cell_type_ids=ids,
        )

    model = with_new_head(pretrained, "cell_types", cell_types=cell_types, seed=seed)
    return _finetune(model, cells, name_cell_types, config, execution, seed, folder)


def finetune_expression(
    pretrained: FoundationModel,
    store: TokenStore,
    split: pd.DataFrame,
    config: FinetuneConfig,
    execution: ExecutionConfig,
    *,
    n_bins: int,
    seed: int,
    folder: Path | None = None,
) -> FoundationModel:
    """Return a model that predicts expression levels 0 to `n_bins` - 1 (eq. 13, 14).

    As in the authors' code, half of the genes asked of a cell are expressed.
    """
    check_rank(pretrained.design.config, config, "finetune_expression")
    pretrained.check_store(store)
    levels = expression_levels(store, n_bins).data  # one for each entry of store.gene_tokens
    _tell_of_unseen_genes(store, rows_of(store, split, "train"))

    def cells(part: str) -> CellDataset:
        return CellDataset(
            store=store,
            rows=rows_of(store, split, part),
            max_peaks=_max_peaks(pretrained, config),
            seed=seed,
            max_genes=pretrained.design.config.max_genes,
            gene_values=levels,
        )

    model = with_new_head(pretrained, "expression", seed=seed)
    return _finetune(model, cells, predict_levels, config, execution, seed, folder)


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


def _max_peaks(pretrained: FoundationModel, config: FinetuneConfig) -> int:
    most = pretrained.design.config.max_peaks
    return min(most, config.max_peaks or most)


def _tell_of_unseen_genes(store: TokenStore, rows: Rows) -> None:
    """Say how many genes no training cell expresses: their level is learned from zeros alone."""
    seen = np.zeros(store.gene_chromosomes.size, bool)
    for row in rows:
        seen[store.cell(int(row))[1]] = True
    n_unseen = store.n_genes - int(seen.sum())
    if n_unseen:
        logger.warning(
            "%d of %d genes are expressed in no training cell; level 0 is all that can be learned"
            " of them",
            n_unseen,
            store.n_genes,
        )


def _finetune(
    model: FoundationModel,
    cells: Callable[[str], CellDataset],
    objective: Objective,
    config: FinetuneConfig,
    execution: ExecutionConfig,
    seed: int,
    folder: Path | None,
) -> FoundationModel:
    adapters.apply(model.network, config.trainable, rank=config.lora_rank, seed=seed)
    run = Run(
        network=model.network,
        training=cells("train"),
        validation=cells("validation"),
        objective=objective,
        config=config,
        execution=execution.model_copy(update={"n_devices": 1}),
        seed=seed,
        folder=folder,
    )
    history = train(run)
    adapters.merge(model.network)
    told = {"stage": f"finetune_{model.design.heads[0]}", "trainable": config.trainable}
    return finish(model, history, **told, seed=str(seed))
