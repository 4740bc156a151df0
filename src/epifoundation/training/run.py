"""One training run, as plain data."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from epifoundation.config import ExecutionConfig, TrainConfig
from epifoundation.model.network import EpiFoundation
from epifoundation.training.dataset import CellDataset
from epifoundation.training.objectives import Objective

History = list[dict[str, float]]


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
    def fingerprint(self) -> str:
        """Digest of all that decides the result; a checkpoint with another one is not continued.

        The devices are not part of it: a run may go on with another number of them.
        """
        told = [
            self.config.model_dump(mode="json"),
            self.network.config.model_dump(mode="json"),
            [list(parameter.shape) for parameter in self.network.parameters()],
            self.objective.__name__,
            self.seed,
            self.training.store.vocabulary_hash,
        ]
        digest = hashlib.sha256(json.dumps(told).encode())
        digest.update(self.training.rows.tobytes() + self.validation.rows.tobytes())
        return digest.hexdigest()
