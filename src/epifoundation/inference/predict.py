"""From tokenised cells to embeddings, cell types and expression levels; nothing is trained.

Of a cell with more peaks than the model reads, `crops` draws of them are read, fixed by (seed,
draw, cell), and their embeddings averaged; what is said of the cell follows from the average.
All is computed where the model's network lies (`precision.on_device` moves it).
"""

import logging
from collections.abc import Callable

import anndata as ad
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from epifoundation.data.store import TokenStore
from epifoundation.data.vocabulary import N_SPECIAL
from epifoundation.errors import ModelError
from epifoundation.files import with_progress
from epifoundation.hub import FoundationModel
from epifoundation.inference.precision import inference_precision, memory_named
from epifoundation.model.network import Head
from epifoundation.training.dataset import WITHOUT_EPOCH, CellDataset, Rows

logger = logging.getLogger(__name__)

CELLS_PER_MINIBATCH = 16
Values = NDArray[np.float32]


def embed(
    model: FoundationModel, store: TokenStore, rows: Rows, *, crops: int = 1, seed: int = 0
) -> Values:
    """Return the embeddings of the given rows of the store, (n, d_model), in their order."""
    return _per_cell(model, store, rows, lambda z: z, crops, seed)


def cell_type_scores(
    model: FoundationModel, store: TokenStore, rows: Rows, *, crops: int = 1, seed: int = 0
) -> pd.DataFrame:
    """Return the softmax over the model's cell types, one row per given row of the store."""
    _check_head(model, "cell_types")

    def scores(z: Tensor) -> Tensor:
        return torch.softmax(model.network.cell_type_logits(z).float(), dim=1)

    return pd.DataFrame(
        _per_cell(model, store, rows, scores, crops, seed), columns=list(model.cell_types)
    )


def predict_cell_types(
    model: FoundationModel, store: TokenStore, rows: Rows, *, crops: int = 1, seed: int = 0
) -> pd.DataFrame:
    """Return a CELL_TYPE_PREDICTIONS table with a `score:<type>` column per type."""
    scores = cell_type_scores(model, store, rows, crops=crops, seed=seed)
    table = scores.add_prefix("score:").astype(np.float64)
    table.insert(0, "predicted_cell_type", scores.columns[scores.to_numpy().argmax(axis=1)])
    table.insert(0, "cell", store.cells["cell"].iloc[rows].to_numpy())
    return table


def predict_expression(
    model: FoundationModel, store: TokenStore, rows: Rows, *, crops: int = 1, seed: int = 0
) -> Values:
    """Return the predicted level of every gene of the vocabulary, (n, n_genes)."""
    _check_head(model, "expression")
    device = next(model.network.parameters()).device
    genes = torch.arange(N_SPECIAL, N_SPECIAL + model.vocabulary.n_genes, device=device)

    def levels(z: Tensor) -> Tensor:
        return model.network.every_expression_level(z, genes)

    return _per_cell(model, store, rows, levels, crops, seed)


def embed_all(
    model: FoundationModel, store: TokenStore, *, crops: int = 1, seed: int = 0
) -> pd.DataFrame:
    """Return columns cell, dim_0, dim_1, …, a row per cell of the store."""
    embeddings = embed(model, store, np.arange(store.n_cells), crops=crops, seed=seed)
    table = pd.DataFrame(embeddings).add_prefix("dim_")
    table.insert(0, "cell", store.cells["cell"].to_numpy())
    return table


def expression_table(
    model: FoundationModel, store: TokenStore, rows: Rows, *, crops: int = 1, seed: int = 0
) -> ad.AnnData:
    """Return the predicted levels as cells × genes, named by cell and by gene."""
    levels = predict_expression(model, store, rows, crops=crops, seed=seed)
    genes = pd.DataFrame(index=pd.Index(model.vocabulary.genes["gene_name"], name=None))
    cells = pd.DataFrame(index=pd.Index(store.cells["cell"].iloc[rows], name=None))
    return ad.AnnData(levels, obs=cells, var=genes)


def _per_cell(
    model: FoundationModel,
    store: TokenStore,
    rows: Rows,
    output: Callable[[Tensor], Tensor],
    crops: int,
    seed: int,
) -> Values:
    """Return `output` of each cell's embedding; cells of like length are packed together."""
    model.check_store(store)
    network = model.network.eval()
    device = next(network.parameters()).device
    cells = CellDataset(store, np.asarray(rows), model.design.config.max_peaks, seed)
    minibatches = cells.in_order_of_length(CELLS_PER_MINIBATCH)
    n_peaks = np.diff(store.peak_indptr)
    outputs = []
    advice = f"{CELLS_PER_MINIBATCH} cells are read at once. Set training.device: cpu."
    with memory_named(device, advice), torch.inference_mode(), inference_precision(device):
        for members in with_progress(
            minibatches, "minibatches read", total=len(minibatches), logger=logger
        ):
            n_draws = crops if (n_peaks[members] > cells.max_peaks).any() else 1
            draws = (cells.read(members, WITHOUT_EPOCH + i).cells for i in range(n_draws))
            z = torch.stack([network(one.to(device)) for one in draws]).mean(dim=0)
            outputs.append(output(z).float().cpu().numpy())
    read = np.concatenate(minibatches)
    place = pd.Index(read).get_indexer(pd.Index(rows))
    values: Values = np.concatenate(outputs)[place]
    return values


def _check_head(model: FoundationModel, head: Head) -> None:
    if head not in model.design.heads:
        message = (
            f"this model was not fine-tuned for {head.replace('_', ' ')} (its heads:"
            f" {', '.join(model.design.heads)}). Load a model from the matching finetune folder."
        )
        raise ModelError(message)
