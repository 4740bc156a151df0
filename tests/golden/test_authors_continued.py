"""Pretraining that goes on from the authors' recorded model makes their recorded training step."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from epifoundation.config import ExecutionConfig, ModelConfig, TrainConfig
from epifoundation.data.vocabulary import N_SPECIAL, Vocabulary
from epifoundation.hub import import_authors
from epifoundation.model.packing import PackedCells, PackedGenes
from epifoundation.training.dataset import CellDataset, Minibatch
from epifoundation.training.distributed import World
from epifoundation.training.loop import update
from epifoundation.training.objectives import align_genes
from epifoundation.training.run import Run
from epifoundation.training.start import given_start

GOLDEN = Path(__file__).parents[2] / "../shared/golden/authors_model"
pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="recorded outputs of the authors' model are not beside the checkout"
)
MODEL = ModelConfig(
    n_layers=2,
    n_heads=4,
    d_model=64,
    d_feedforward=128,
    dropout=0.0,
    max_peaks=300,  # of the paper's own run; what the authors padded to is told by the model
    max_genes=120,
    embedding_std=0.3,
    initialisation="independent",
    batch_norm="real",
    pooling="cls",
    depth_input="none",
)


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "io.npz"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The recorded model as a directory, with the lengths that its minibatches were padded to."""
    model = import_authors(GOLDEN / "Epoch_3_Step_12_golden.pth", GOLDEN)
    sizes = json.loads((GOLDEN / "model_config.json").read_text())
    padded = {
        "max_peaks": sizes["padded_peak_length"] - 1,  # theirs counts the [CLS]
        "max_genes": sizes["padded_gene_length"],
    }
    design = dataclasses.replace(model.design, config=model.design.config.model_copy(update=padded))
    path = tmp_path_factory.mktemp("authors") / "model"
    dataclasses.replace(model, design=design).save(path)
    return path


def _as_it_is(vocabulary: Vocabulary) -> Vocabulary:
    return vocabulary


def _in_another_order(vocabulary: Vocabulary) -> Vocabulary:
    """The same peaks and genes as an atlas of ours would number them, with a batch more."""
    return Vocabulary(
        vocabulary.peaks[::-1].reset_index(drop=True),
        vocabulary.genes.sample(frac=1, random_state=0).reset_index(drop=True),
        vocabulary.chromosomes[::-1],
        ("of this atlas", *vocabulary.batches[::-1]),
    )


def _moved(ids: np.ndarray, before: list[str], now: list[str], first: int) -> torch.Tensor:
    """The ids that what `before` numbers has in `now`; the first ones are special."""
    place = {name: i for i, name in enumerate(now)}
    table = [*range(first), *(first + place[name] for name in before)]
    return torch.from_numpy(np.array(table)[ids])


def _minibatch(recorded, theirs: Vocabulary, ours: Vocabulary) -> Minibatch:
    peaks, genes = recorded["atac_ids"], recorded["rna_ids"]
    lengths = (peaks != 0).sum(axis=1)
    names = [list(one.peaks["name"]) for one in (theirs, ours)]
    gene_names = [list(one.genes["gene_name"]) for one in (theirs, ours)]
    batches = [list(one.batches) for one in (theirs, ours)]
    cells = PackedCells(
        token_ids=_moved(peaks[peaks != 0], *names, N_SPECIAL).int(),
        cu_seqlens=torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)])).int(),
        max_seqlen=int(lengths.max()),
        batch_ids=_moved(recorded["batch_ids"], *batches, 0),
    )
    asked = PackedGenes(
        gene_ids=_moved(genes[genes != 0], *gene_names, N_SPECIAL).int(),
        cell_index=torch.from_numpy(np.nonzero(genes)[0]),
        targets=torch.from_numpy(recorded["rna_values"][genes != 0]),
    )
    return Minibatch(np.arange(len(peaks)), cells, asked)


@pytest.mark.parametrize("numbered", [_as_it_is, _in_another_order])
def test_the_next_step_is_theirs(folder, recorded, tiny_step, numbered):
    theirs = Vocabulary.read(folder)
    ours = numbered(theirs)
    started = given_start(folder, ours, MODEL, variant="full", seed=0)
    assert started.design.config.batch_norm == "padded"
    assert started.design.config.dropout == 0
    network = started.network.train()
    run = Run(network, *tiny_step)
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    world = World(0, 1, torch.device("cpu"))
    minibatch = _minibatch(recorded, theirs, ours)
    sums = update(run, world, [minibatch], [1.0], optimizer, epoch=0)
    loss = sums["loss"] / sums["examples"]
    assert loss == pytest.approx(float(recorded["train_loss"]), abs=1e-6)
    norms = json.loads((GOLDEN / "train_grad_norms.json").read_text())
    total = math.sqrt(sum(norm**2 for norm in norms.values()))
    assert sums["gradient_norm"] == pytest.approx(total, rel=1e-3)
    for name in ("running_mean", "running_var"):
        found = network.peak_batch_norm.get_buffer(name).numpy()
        np.testing.assert_allclose(found, recorded[f"train_bn_atac_{name}"], atol=1e-6, rtol=0)


@pytest.fixture
def tiny_step() -> tuple[CellDataset, CellDataset, object, TrainConfig, ExecutionConfig, int]:
    """What a run has besides its network; no cell is read from a store here."""
    config = TrainConfig(
        epochs=1,
        learning_rate=1e-4,
        min_learning_rate=1e-6,
        warmup_fraction=0.0,
        cells_per_minibatch=4,
        accumulation_steps=1,
        clip_norm=100,
        precision="fp32",
        patience=1,
        schedule="cosine",
        tokens_per_minibatch=None,
        max_peaks=None,
    )
    execution = ExecutionConfig.model_construct(device="cpu", n_devices=1)
    none = CellDataset(None, np.zeros(0, np.int64), 1, 0)
    return none, none, align_genes, config, execution, 0
