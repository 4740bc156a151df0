"""Training: it learns, it resumes exactly, and it stops in an orderly way."""

import json
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from epifoundation.config import ModelConfig, TrainConfig
from epifoundation.errors import ModelError
from epifoundation.hub import Design, FoundationModel
from epifoundation.training import loop
from epifoundation.training.checkpoint import Checkpointer
from epifoundation.training.dataset import CellDataset, rows_of
from epifoundation.training.finetune import finetune_cell_type, with_new_head
from epifoundation.training.loop import Run, learning_rate_at, train
from epifoundation.training.objectives import align_genes
from epifoundation.training.pretrain import batch_ids, pretrain


def run_of(
    atlas, model: ModelConfig, config: TrainConfig, checkpoint: Path | None, n_cells: int = 24
) -> Run:
    untrained = FoundationModel.build(Design(model, ("genes",)), atlas.vocabulary, seed=0)

    def cells(part: str) -> CellDataset:
        return CellDataset(
            atlas.store,
            rows_of(atlas.store, atlas.split, part)[:n_cells],
            model.max_peaks,
            seed=0,
            max_genes=model.max_genes,
            batch_ids=batch_ids(atlas.store, atlas.vocabulary),
        )

    network = untrained.network
    return Run(network, cells("train"), cells("validation"), align_genes, config, 0, checkpoint)


def test_resuming_changes_nothing(tiny_atlas, tiny_model, tiny_training, tmp_path, monkeypatch):
    """Interrupted after some updates and gone on with: bit for bit the uninterrupted run."""
    whole_run = run_of(tiny_atlas, tiny_model, tiny_training, None)
    history = train(whole_run)
    updates = []
    real_update = loop._update

    def interrupted(*args):
        updates.append(1)
        if len(updates) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return real_update(*args)

    monkeypatch.setattr(loop, "_update", interrupted)
    first = run_of(tiny_atlas, tiny_model, tiny_training, tmp_path / "run")
    with pytest.raises(SystemExit) as stopped:
        train(first)
    assert stopped.value.code == 0
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert state["epoch"] == 1
    assert 0 < state["update"] < 4
    second = run_of(tiny_atlas, tiny_model, tiny_training, tmp_path / "run")
    resumed = train(second)
    assert [r["loss"] for r in resumed] == [r["loss"] for r in history]
    assert [r["validation_loss"] for r in resumed] == [r["validation_loss"] for r in history]
    for name, tensor in whole_run.network.state_dict().items():
        assert torch.equal(tensor, second.network.state_dict()[name]), name
    assert not (tmp_path / "run").exists()


def test_checkpoint_of_other_settings_is_not_used(
    tiny_atlas, tiny_model, tiny_training, tmp_path, caplog
):
    caplog.set_level("INFO")
    run = run_of(tiny_atlas, tiny_model, tiny_training, tmp_path / "run")
    optimizer = torch.optim.Adam(run.network.parameters())
    saved = Checkpointer(run.checkpoint, run.fingerprint, run.network, optimizer)
    saved.save(loop.TrainState(epoch=1))
    other = run_of(
        tiny_atlas,
        tiny_model,
        tiny_training.model_copy(update={"learning_rate": 2e-3}),
        tmp_path / "run",
    )
    state = Checkpointer(other.checkpoint, other.fingerprint, other.network, optimizer).load()
    assert state.epoch == 0
    assert "other data or settings" in caplog.text
    (tmp_path / "run" / "network.safetensors").write_bytes(b"cut")
    assert saved.load().epoch == 0
    assert "damaged" in caplog.text


def test_overfits_eight_cells(tiny_atlas, tiny_model, tiny_training):
    model = tiny_model.model_copy(update={"dropout": 0.0, "d_model": 32, "n_layers": 1})
    run = run_of(tiny_atlas, model, tiny_training, None, n_cells=8)
    optimizer = torch.optim.Adam(run.network.parameters(), 1e-2)
    run.network.train()
    window = [run.training.rows]
    losses = []
    for _ in range(150):  # the same peaks and genes each time
        sums = loop._update(run, window, 0, optimizer)
        losses.append(sums["loss"] / sums["examples"])
    assert losses[0] == pytest.approx(math.log(2), abs=0.1)
    assert losses[-1] < 0.1


def test_best_validation_is_kept_and_patience_ends(tiny_atlas, tiny_model, tiny_training):
    config = tiny_training.model_copy(
        update={"epochs": 60, "learning_rate": 3e-2, "accumulation_steps": 1, "patience": 3}
    )
    run = run_of(tiny_atlas, tiny_model, config, None, n_cells=8)
    history = train(run)
    losses = [record["validation_loss"] for record in history]
    assert len(history) < 60
    assert len(history) - 1 - int(np.argmin(losses)) == 3
    assert loop.evaluate(run)["loss"] == pytest.approx(min(losses), abs=1e-9)


def test_gradient_does_not_depend_on_how_cells_are_split(tiny_atlas, tiny_model, tiny_training):
    """With BatchNorm frozen, since losses are divided once by all genes of the update."""
    gradients = []
    for parts in (1, 3):
        config = tiny_training.model_copy(update={"clip_norm": 1e9})
        run = run_of(tiny_atlas, tiny_model, config, None)
        run.network.eval()
        window = np.array_split(run.training.rows[:6], parts)
        optimizer = torch.optim.SGD(run.network.parameters(), lr=0.0)
        loop._update(run, window, 0, optimizer)
        gradients.append([p.grad for p in run.network.parameters() if p.grad is not None])
    for one, three in zip(*gradients, strict=True):
        torch.testing.assert_close(one, three, atol=1e-6, rtol=1e-4)


def test_not_finite_names_epoch_and_cells(tiny_atlas, tiny_model, tiny_training):
    run = run_of(tiny_atlas, tiny_model, tiny_training, None)
    with torch.no_grad():
        run.network.gene_decoder.fc2.bias.fill_(math.nan)
    with pytest.raises(ModelError, match=r"not finite in epoch 1, .* cells \(first: Kidney"):
        train(run)


def test_learning_rate_warms_up_then_falls(tiny_training):
    config = tiny_training.model_copy(update={"warmup_fraction": 0.2})
    rates = [learning_rate_at(progress, config) for progress in (0.1, 0.2, 0.6, 1.0)]
    middle = (config.learning_rate + config.min_learning_rate) / 2
    assert rates == pytest.approx([5e-4, 1e-3, middle, config.min_learning_rate])


def test_pretraining_reads_training_cells_only(tiny_atlas, tiny_model, tiny_training, monkeypatch):
    read = set()
    real_read = CellDataset.read

    def recorded(self, rows, epoch=0):
        read.update(rows.tolist())
        return real_read(self, rows, epoch)

    monkeypatch.setattr(CellDataset, "read", recorded)
    config = tiny_training.model_copy(update={"epochs": 1})
    model = pretrain(
        tiny_atlas.store,
        tiny_atlas.split,
        tiny_atlas.vocabulary,
        tiny_model,
        config,
        variant="no_batch",
        seed=0,
    )
    test = rows_of(tiny_atlas.store, tiny_atlas.split, "test")
    assert read
    assert not read & set(test.tolist())
    assert not model.design.use_batch
    assert model.history[0]["tokens_per_second"] > 0


def test_fine_tuning_starts_from_the_pretrained_encoder(tiny_atlas, tiny_model):
    pretrained = FoundationModel.build(
        Design(tiny_model, ("genes",)), tiny_atlas.vocabulary, seed=5
    )
    model = with_new_head(pretrained, "expression", seed=0)
    learned, fresh = pretrained.network.state_dict(), model.network.state_dict()
    shared = set(learned) & set(fresh)
    assert {"peak_embedding.table.weight", "gene_embedding.table.weight"} <= shared
    assert all(torch.equal(learned[name], fresh[name]) for name in shared)
    assert {name.partition(".")[0] for name in set(fresh) - shared} == {"expression_decoder"}
    assert not any("batch_embedding" in name for name in fresh)


def test_types_unseen_in_training_are_not_outputs(tiny_atlas, tiny_model, tiny_training):
    pretrained = FoundationModel.build(
        Design(tiny_model, ("genes",)), tiny_atlas.vocabulary, seed=0
    )
    split = tiny_atlas.split.copy()
    types = tiny_atlas.store.cells.set_index("cell")["cell_type"]
    dropped = types.iloc[0]
    is_dropped = split["cell"].map(types).eq(dropped)
    split.loc[is_dropped, "split"] = "test"
    config = tiny_training.model_copy(update={"epochs": 1})
    model = finetune_cell_type(pretrained, tiny_atlas.store, split, config, seed=0)
    assert set(model.cell_types) == set(types) - {dropped}
    assert model.metrics["validation_loss"] > 0


def test_one_type_cannot_be_learned(tiny_atlas, tiny_model, tiny_training):
    pretrained = FoundationModel.build(
        Design(tiny_model, ("genes",)), tiny_atlas.vocabulary, seed=0
    )
    types = tiny_atlas.store.cells["cell_type"]
    split = tiny_atlas.split[(types == types.iloc[0]).to_numpy()].assign(split="train")
    with pytest.raises(ModelError, match="1 cell types"):
        finetune_cell_type(pretrained, tiny_atlas.store, split, tiny_training, seed=0)
