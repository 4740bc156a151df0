"""One training run, as plain data."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import epifoundation
from epifoundation.config import ExecutionConfig, TrainConfig
from epifoundation.model.network import EpiFoundation
from epifoundation.training.dataset import CellDataset
from epifoundation.training.objectives import Objective

History = list[dict[str, float]]
# How far each update goes, and how long: neither which cells it is of nor what is learned.
STEERING = (
    "epochs",
    "learning_rate",
    "min_learning_rate",
    "warmup_fraction",
    "schedule",
    "clip_norm",
    "precision",
    "patience",
)


class Trained(NamedTuple):
    """A record per epoch, and the best weights, on the CPU; only the first process has them."""

    history: History
    weights: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Run:
    """What is trained, on what, towards what, and how.

    Parameters
    ----------
    folder
        Where its checkpoints lie, and `steps.jsonl`, a line per logged step; null: neither is kept.
    """

    network: EpiFoundation
    training: CellDataset
    validation: CellDataset
    objective: Objective
    config: TrainConfig
    execution: ExecutionConfig
    seed: int
    folder: Path | None = None

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.network.parameters()).device

    @property
    def steering(self) -> dict[str, Any]:
        """The settings that may be other when a run goes on, if it is asked to."""
        return self.config.model_dump(mode="json", include=set(STEERING))

    @property
    def fingerprint(self) -> str:
        """Digest of all else that decides the result; no checkpoint of another is continued.

        The devices are not part of it: a run may go on with another number of them. Nor are the
        tokens of the cells, which are dear to read: their number in each cell stands for them.
        """
        tensors = (*self.network.named_parameters(), *self.network.named_buffers())
        told = [
            epifoundation.__version__,
            self.config.model_dump(mode="json", exclude=set(STEERING)),
            self.network.config.model_dump(mode="json"),
            [(name, list(tensor.shape), tensor.requires_grad) for name, tensor in tensors],
            self.objective.__name__,
            self.seed,
        ]
        digest = hashlib.sha256(json.dumps(told).encode())
        for _, tensor in tensors:
            digest.update(_digest_of(tensor.detach().cpu().numpy()))
        for cells in (self.training, self.validation):
            digest.update(_digest_of_cells(cells))
        return digest.hexdigest()


def _digest_of_cells(cells: CellDataset) -> bytes:
    store = cells.store
    told = [
        store.vocabulary_hash,
        len(store.peak_tokens),
        len(store.gene_tokens),
        cells.max_peaks,
        cells.max_genes,
        cells.seed,
        store.cells["cell"].iloc[cells.rows].tolist(),
    ]
    digest = hashlib.sha256(json.dumps(told).encode())
    for array in (cells.rows, store.peak_indptr, store.gene_indptr, cells.gene_values):
        digest.update(_digest_of(array))
    for ids in (cells.batch_ids, cells.cell_type_ids):
        digest.update(_digest_of(None if ids is None else ids[cells.rows]))
    return digest.digest()


def _digest_of(array: NDArray[Any] | None) -> bytes:
    if array is None:
        return hashlib.sha256(b"none").digest()
    digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
