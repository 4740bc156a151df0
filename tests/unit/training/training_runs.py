"""Runs for tests, here or in a process of their own (python training_runs.py SETTINGS.json)."""

import json
import logging
import sys
from pathlib import Path

import pandas as pd
from safetensors.torch import save_file

from epifoundation.config import ExecutionConfig, ModelConfig, TrainConfig
from epifoundation.data.store import TokenStore
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.hub import Design, FoundationModel
from epifoundation.training.dataset import CellDataset, rows_of
from epifoundation.training.loop import train, use_threads
from epifoundation.training.objectives import align_genes
from epifoundation.training.pretrain import batch_ids
from epifoundation.training.run import Run


def pretraining(
    store: TokenStore,
    split: pd.DataFrame,
    vocabulary: Vocabulary,
    model: ModelConfig,
    config: TrainConfig,
    execution: ExecutionConfig,
    folder: Path | None = None,
    n_cells: int = 24,
) -> Run:
    """Return a pretraining of the first training cells."""
    untrained = FoundationModel.build(Design(model, ("genes",)), vocabulary, seed=0)

    def cells(part: str) -> CellDataset:
        return CellDataset(
            store,
            rows_of(store, split, part)[:n_cells],
            model.max_peaks,
            seed=0,
            max_genes=model.max_genes,
            batch_ids=batch_ids(store, vocabulary),
        )

    return Run(
        untrained.network,
        cells("train"),
        cells("validation"),
        align_genes,
        config,
        execution,
        seed=0,
        folder=folder,
    )


def write_settings(
    path: Path,
    atlas,
    model: ModelConfig,
    config: TrainConfig,
    execution: ExecutionConfig,
    folder: Path,
) -> None:
    """Write what a process of its own needs to train; its weights go beside `folder`."""
    vocabulary = path.with_name("vocabulary")
    if not vocabulary.exists():
        vocabulary.mkdir()
        atlas.vocabulary.write_files(vocabulary)
    atlas.split.to_csv(path.with_name("split.tsv"), sep="\t", index=False)
    settings = {
        "store": str(atlas.folder),
        "split": str(path.with_name("split.tsv")),
        "vocabulary": str(vocabulary),
        "model": model.model_dump(mode="json"),
        "config": config.model_dump(mode="json"),
        "execution": execution.model_dump(mode="json"),
        "folder": str(folder),
    }
    path.write_text(json.dumps(settings))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    told = json.loads(Path(sys.argv[1]).read_text())
    run = pretraining(
        TokenStore.open(told["store"]),
        pd.read_csv(told["split"], sep="\t", dtype=str),
        Vocabulary.read(told["vocabulary"]),
        ModelConfig(**told["model"]),
        TrainConfig(**told["config"]),
        ExecutionConfig(**told["execution"]),
        Path(told["folder"]),
    )
    with use_threads(1):
        history = train(run)
    save_file(run.network.state_dict(), f"{told['folder']}.safetensors")
    Path(f"{told['folder']}.history.json").write_text(json.dumps(history))
