"""Training: it learns, it keeps its best, and the options change what they should."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from epifoundation.errors import ModelError
from epifoundation.hub import Design, FoundationModel
from epifoundation.training import loop
from epifoundation.training.dataset import CellDataset, rows_of
from epifoundation.training.distributed import World
from epifoundation.training.finetune import (
    finetune_cell_type,
    finetune_expression,
    with_new_head,
)
from epifoundation.training.loop import train, update
from epifoundation.training.pretrain import pretrain

ALONE = World(0, 1, torch.device("cpu"))


def update_of(run, window, optimizer):
    minibatches = [run.training.read(rows, 0) for rows in window]
    return update(run, ALONE, minibatches, [1.0] * len(window), optimizer, epoch=0)


def test_overfits_eight_cells(run_of):
    run = run_of(model={"dropout": 0.0, "d_model": 32, "n_layers": 1}, n_cells=8)
    optimizer = torch.optim.Adam(run.network.parameters(), 1e-2)
    run.network.train()
    losses = []
    for _ in range(150):  # the same peaks and genes each time
        sums = update_of(run, [run.training.rows], optimizer)
        losses.append(sums["loss"] / sums["examples"])
    assert losses[0] == pytest.approx(math.log(2), abs=0.1)
    assert losses[-1] < 0.1


def test_best_validation_is_kept_and_patience_ends(run_of):
    config = {"epochs": 60, "learning_rate": 3e-2, "accumulation_steps": 1, "patience": 3}
    run = run_of(config=config, n_cells=8)
    history = train(run)
    losses = [record["validation_loss"] for record in history]
    assert len(history) < 60
    assert len(history) - 1 - int(np.argmin(losses)) == 3
    assert loop.evaluate(run, ALONE)["loss"] == pytest.approx(min(losses), abs=1e-9)


@pytest.mark.parametrize(("frozen", "tolerance"), [(True, 1e-6), (False, 0.5)])
def test_gradient_does_not_depend_on_how_cells_are_split(run_of, frozen, tolerance):
    """Exactly with BatchNorm frozen, as losses are divided once by all genes of the update.

    Live, BatchNorm normalises each minibatch by itself: then gradients of six cells differ by
    some tenths of their norm, which is what this measures.
    """
    gradients = []
    for parts in (1, 3):
        run = run_of(config={"clip_norm": 1e9}, model={"dropout": 0.0})
        run.network.train(not frozen)
        window = np.array_split(run.training.rows[:6], parts)
        update_of(run, window, torch.optim.SGD(run.network.parameters(), lr=0.0))
        found = [p.grad.flatten() for p in run.network.parameters() if p.grad is not None]
        gradients.append(torch.cat(found))
    one, three = gradients
    apart = float((one - three).norm() / one.norm())
    assert apart < tolerance
    assert frozen or apart > 0.01


def test_not_finite_names_minibatch_and_cells(run_of, tmp_path):
    run = run_of(folder=tmp_path / "run")
    with torch.no_grad():
        run.network.gene_decoder.fc2.bias.fill_(math.nan)
    told = (
        r"^the loss of minibatch 1 of 2 is not finite in epoch 1; it has \d cells \(first: Kidney.*"
        r" No checkpoint had been written\.$"
    )
    with pytest.raises(ModelError, match=told):
        train(run)


def test_not_finite_leaves_the_last_good_checkpoint(run_of, tmp_path, monkeypatch):
    real, calls = loop.update, []

    def poisoned(run, *args, **options):
        calls.append(1)
        if len(calls) == 4:
            with torch.no_grad():
                run.network.gene_decoder.fc2.bias.fill_(math.nan)
        return real(run, *args, **options)

    monkeypatch.setattr(loop, "update", poisoned)
    folder = tmp_path / "run"
    told = r"not finite.* The last good checkpoint is kept: .*/step-000000003\. With training"
    with pytest.raises(ModelError, match=told):
        train(run_of(folder=folder, execution={"checkpoint_updates": 1}))
    monkeypatch.undo()
    run = run_of(folder=folder)
    history = train(run)
    assert [r["loss"] for r in history] == [r["loss"] for r in train(run_of())]


def test_pretraining_reads_training_cells_only(
    tiny_atlas, tiny_model, tiny_training, tiny_execution, monkeypatch
):
    read = set()
    real_read = CellDataset.read

    def recorded(self, rows, epoch=0):
        read.update(rows.tolist())
        return real_read(self, rows, epoch)

    monkeypatch.setattr(CellDataset, "read", recorded)
    model = pretrain(
        tiny_atlas.store,
        tiny_atlas.split,
        tiny_atlas.vocabulary,
        tiny_model,
        tiny_training.model_copy(update={"epochs": 1, "max_peaks": 30}),
        tiny_execution,
        variant="no_batch",
        seed=0,
    )
    test = rows_of(tiny_atlas.store, tiny_atlas.split, "test")
    assert read
    assert not read & set(test.tolist())
    assert not model.design.use_batch
    record = model.history[0]
    assert record["tokens_per_second"] / record["cells_per_second"] < 31.01
    assert {"loss", "accuracy", "learning_rate", "gradient_norm", "loader_wait"} <= set(record)


def test_without_pretraining_the_model_is_as_initialised(
    tiny_atlas, tiny_model, tiny_training, tiny_execution
):
    model = pretrain(
        tiny_atlas.store,
        tiny_atlas.split,
        tiny_atlas.vocabulary,
        tiny_model,
        tiny_training,
        tiny_execution,
        variant="no_pretrain",
        seed=7,
    )
    fresh = FoundationModel.build(Design(tiny_model, ("genes",)), tiny_atlas.vocabulary, seed=7)
    for name, tensor in fresh.network.state_dict().items():
        assert torch.equal(tensor, model.network.state_dict()[name]), name
    assert model.history == []


def test_fine_tuning_starts_from_the_pretrained_encoder(pretrained):
    model = with_new_head(pretrained, "expression", seed=0)
    learned, fresh = pretrained.network.state_dict(), model.network.state_dict()
    shared = set(learned) & set(fresh)
    assert {"peak_embedding.table.weight", "gene_embedding.table.weight"} <= shared
    assert all(torch.equal(learned[name], fresh[name]) for name in shared)
    assert {name.partition(".")[0] for name in set(fresh) - shared} == {"expression_decoder"}
    assert not any("batch_embedding" in name for name in fresh)


def test_types_unseen_in_training_are_not_outputs(
    tiny_atlas, pretrained, finetuning, tiny_execution, caplog
):
    split = tiny_atlas.split.copy()
    types = tiny_atlas.store.cells.set_index("cell")["cell_type"]
    dropped = types.iloc[0]
    is_dropped = split["cell"].map(types).eq(dropped)
    split.loc[is_dropped, "split"] = "validation"
    config = finetuning.model_copy(update={"epochs": 1})
    model = finetune_cell_type(pretrained, tiny_atlas.store, split, config, tiny_execution, seed=0)
    assert set(model.cell_types) == set(types) - {dropped}
    assert model.metrics["validation_loss"] > 0
    assert f"whose type no training cell has: {dropped}" in caplog.text


def test_one_type_cannot_be_learned(tiny_atlas, pretrained, finetuning, tiny_execution):
    types = tiny_atlas.store.cells["cell_type"]
    split = tiny_atlas.split[(types == types.iloc[0]).to_numpy()].assign(split="train")
    with pytest.raises(ModelError, match="1 cell types"):
        finetune_cell_type(pretrained, tiny_atlas.store, split, finetuning, tiny_execution, seed=0)


@pytest.mark.parametrize("trainable", ["full", "frozen_tables", "lora"])
def test_what_is_frozen_stays(tiny_atlas, pretrained, finetuning, tiny_execution, trainable):
    config = finetuning.model_copy(update={"epochs": 1, "trainable": trainable})
    arguments = (tiny_atlas.store, tiny_atlas.split, config, tiny_execution)
    model = finetune_expression(pretrained, *arguments, n_bins=10, seed=0)
    before, after = pretrained.network.state_dict(), model.network.state_dict()
    table, block = "peak_embedding.table.weight", "blocks.0.linear1.weight"
    assert torch.equal(before[table], after[table]) == (trainable != "full")
    change = after[block] - before[block]
    assert bool(change.any())
    assert (torch.linalg.matrix_rank(change) <= 2) == (trainable == "lora")
    assert all(parameter.requires_grad for parameter in model.network.parameters())


def test_expression_levels_have_no_accuracy(tiny_atlas, pretrained, finetuning, tiny_execution):
    arguments = (tiny_atlas.store, tiny_atlas.split, finetuning, tiny_execution)
    model = finetune_expression(pretrained, *arguments, n_bins=10, seed=0)
    assert not any("accuracy" in name for record in model.history for name in record)
    assert model.history[0]["validation_loss"] > 0


def test_recomputing_blocks_changes_nothing(run_of):
    kept, recomputed = run_of(), run_of(execution={"gradient_checkpointing": True})
    assert [r["loss"] for r in train(kept)] == [r["loss"] for r in train(recomputed)]
    states = kept.network.state_dict(), recomputed.network.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_running_statistics_are_those_of_the_cells(run_of):
    """BatchNorm's running mean and variance against one pass over all training cells, within 2 %.

    Weights move little at the end of the cosine; minibatches mix lengths, as within large data.
    """
    config = {"epochs": 30, "learning_rate": 1e-4, "accumulation_steps": 1}
    run = run_of(config=config, model={"dropout": 0.0}, n_cells=36)
    train(run)
    norm = run.network.peak_batch_norm
    seen = []
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    run.network.eval()
    with torch.no_grad():
        for rows in run.training.in_order_of_length(4):
            run.network(run.training.read(rows, 29).cells)
    hook.remove()
    tokens = torch.cat(seen)
    deviation = tokens.std(dim=0)
    assert float(((norm.running_mean - tokens.mean(dim=0)) / deviation).abs().mean()) < 0.02
    assert float((norm.running_var / deviation.square() - 1).abs().mean()) < 0.02


def lacking_on_the_cpu(*_, **__):
    torch.empty(2**50)


def lacking_on_a_gpu(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory")


def lacking_on_a_shared_gpu(*_, **__):
    raise torch.AcceleratorError("CUDA error: out of memory")


@pytest.mark.parametrize("lacking", [lacking_on_the_cpu, lacking_on_a_gpu, lacking_on_a_shared_gpu])
def test_a_lack_of_memory_names_the_settings(run_of, monkeypatch, lacking):
    monkeypatch.setattr(loop, "update", lacking)
    with pytest.raises(ModelError, match=r"out of memory on cpu with \d+ tokens .*max_peaks"):
        train(run_of())


def test_other_errors_stay_what_they_are(run_of, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(loop, "update", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(run_of())


def test_a_validation_loss_that_is_no_number_is_refused(run_of):
    run = run_of()
    run.network.peak_batch_norm.running_var.fill_(math.inf)
    run.network.peak_batch_norm.running_mean.fill_(math.nan)
    with pytest.raises(ModelError, match=r"12 validation cells is not finite after epoch 1"):
        train(run)


def test_a_token_budget_is_kept(run_of):
    run = run_of(config={"tokens_per_minibatch": 150, "epochs": 1})
    sizes = [
        int(run.training.read(rows).cells.n_tokens)
        for rows in run.training.shuffled(0, 4, run.config.tokens_per_minibatch)
    ]
    assert max(sizes) <= 150
    assert train(run)[0]["updates"] == math.ceil(len(sizes) / 2)


def test_a_token_budget_that_a_cell_exceeds_is_refused(run_of):
    run = run_of(config={"tokens_per_minibatch": 40})
    told = (
        r"tokens_per_minibatch is 40, but a training cell has 61 tokens \(\w+#.*\)\. .*"
        r"raise tokens_per_minibatch to 61 or more, or lower max_peaks to 39\."
    )
    with pytest.raises(ModelError, match=told):
        train(run)


@pytest.mark.parametrize(("stage", "options"), [("cell_type", {}), ("expression", {"n_bins": 10})])
def test_a_rank_that_no_matrix_has_is_refused(
    tiny_atlas, pretrained, finetuning, tiny_execution, stage, options
):
    finetune = {"cell_type": finetune_cell_type, "expression": finetune_expression}[stage]
    arguments = (pretrained, tiny_atlas.store, tiny_atlas.split)
    config = finetuning.model_copy(update={"trainable": "lora", "lora_rank": 17})
    with pytest.raises(ModelError, match=f"finetune_{stage}.lora_rank is 17, .* 16 at most"):
        finetune(*arguments, config, tiny_execution, seed=0, **options)


def test_a_cell_without_peaks_is_refused(run_of):
    run = run_of()
    indptr = np.array(run.training.store.peak_indptr)
    row = int(run.training.rows[3])
    indptr[row + 1 :] -= indptr[row + 1] - indptr[row]
    store = dataclasses.replace(run.training.store, peak_indptr=indptr)
    emptied = dataclasses.replace(run.training, store=store)
    with pytest.raises(ModelError, match="1 of 24 training cells have no accessible peak"):
        train(dataclasses.replace(run, training=emptied))


def test_blocks_are_compiled_where_asked(run_of, monkeypatch):
    """On a CPU compiling takes minutes and gains nothing; the next test does it on a GPU."""
    compiled = []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda block, **options: compiled.append((block, options))
    )
    run = run_of(config={"epochs": 1}, execution={"compile": True})
    train(run)
    assert compiled == [(block, {"dynamic": True}) for block in run.network.blocks]


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_compiled_blocks_train_alike(run_of):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    options = {"model": {"dropout": 0.0}}
    runs = [run_of(**options, execution={"device": "cuda", "compile": c}) for c in (False, True)]
    losses = [[record["loss"] for record in train(run)] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
