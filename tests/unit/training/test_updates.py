"""What each update and each option does, watched from outside."""

import dataclasses
import os
import re
import signal

import pandas as pd
import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from epifoundation.errors import EpiFoundationError
from epifoundation.training import loop
from epifoundation.training.distributed import clip_gradients
from epifoundation.training.finetune import finetune_cell_type, finetune_expression
from epifoundation.training.loop import train
from epifoundation.training.pretrain import pretrain
from epifoundation.training.schedule import learning_rate_at


def test_each_update_has_the_learning_rate_of_the_schedule(run_of, monkeypatch):
    rates, step = [], torch.optim.Adam.step

    def recorded(self, *args):
        rates.append([group["lr"] for group in self.param_groups])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", recorded)
    run = run_of()
    n_updates = int(train(run)[0]["updates"])
    epochs = [(update + 1) / n_updates for update in range(2 * n_updates)]
    assert rates == [[learning_rate_at(epoch, run.config)] for epoch in epochs]
    assert len({rate for (rate,) in rates}) == 2 * n_updates


def test_gradients_are_clipped_to_the_norm_of_the_settings(run_of, monkeypatch):
    norms, step = [], torch.optim.Adam.step

    def recorded(self, *args):
        gradients = [p.grad.flatten() for p in self.param_groups[0]["params"] if p.grad is not None]
        norms.append(float(torch.cat(gradients).norm()))
        return step(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", recorded)
    told = train(run_of(config={"clip_norm": 1e-3, "epochs": 1}))
    assert norms == pytest.approx([1e-3] * len(norms), rel=1e-2)
    assert told[0]["gradient_norm"] > 1e-2


@pytest.fixture
def world_of_one(tmp_path):
    """A process group of this process alone, in which tensors can be split."""
    meeting = f"file://{tmp_path / 'meeting'}"
    distributed.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


@pytest.mark.parametrize("largest", [1e-3, 1e3])
def test_split_gradients_are_clipped_with_the_others(world_of_one, largest):
    gradients = torch.tensor([[3.0], [0.0]]), torch.tensor([4.0])
    own = nn.Parameter(torch.zeros(1))
    split = nn.Parameter(distribute_tensor(torch.zeros(2, 1), world_of_one, [Shard(0)]))
    split.grad = distribute_tensor(gradients[0], world_of_one, [Shard(0)])
    own.grad = gradients[1].clone()
    assert float(clip_gradients([split, own], largest)) == pytest.approx(5.0)
    scale = min(1.0, largest / 5)
    torch.testing.assert_close(own.grad, gradients[1] * scale)
    torch.testing.assert_close(split.grad.full_tensor(), gradients[0] * scale)


@pytest.mark.parametrize("asked", [True, False])
def test_blocks_are_recomputed_only_where_asked(run_of, monkeypatch, asked):
    from epifoundation.model import network

    recomputed, real = [], network.checkpoint

    def spied(*args, **options):
        recomputed.append(1)
        return real(*args, **options)

    monkeypatch.setattr(network, "checkpoint", spied)
    train(run_of(config={"epochs": 1}, execution={"gradient_checkpointing": asked}))
    assert bool(recomputed) == asked


@pytest.fixture
def pretrained_as(tiny_atlas, tiny_model, tiny_training, tiny_execution):
    """Return a function that pretrains a variant for an epoch."""

    def make(variant, store=tiny_atlas.store):
        return pretrain(
            store,
            tiny_atlas.split,
            tiny_atlas.vocabulary,
            tiny_model,
            tiny_training.model_copy(update={"epochs": 1}),
            tiny_execution,
            variant=variant,
            seed=0,
        )

    return make


@pytest.mark.parametrize(
    ("variant", "use_batch", "use_chromosome"),
    [("full", True, True), ("no_batch", False, True), ("no_chromosome", True, False)],
)
def test_variants_leave_out_what_they_say(pretrained_as, variant, use_batch, use_chromosome):
    model = pretrained_as(variant)
    assert (model.design.use_batch, model.design.use_chromosome) == (use_batch, use_chromosome)
    names = " ".join(name for name, _ in model.network.named_parameters())
    assert ("batch_embedding" in names) == use_batch
    assert ("chromosome_embedding" in names) == use_chromosome


def test_a_store_of_another_vocabulary_is_refused(
    tiny_atlas, pretrained_as, pretrained, finetuning, tiny_execution
):
    store = dataclasses.replace(tiny_atlas.store, vocabulary_hash="another")
    settings = (store, tiny_atlas.split, finetuning, tiny_execution)
    told = "another"
    with pytest.raises(EpiFoundationError, match=told):
        pretrained_as("full", store)
    with pytest.raises(EpiFoundationError, match=told):
        finetune_cell_type(pretrained, *settings, seed=0)
    with pytest.raises(EpiFoundationError, match=told):
        finetune_expression(pretrained, *settings, n_bins=10, seed=0)


def test_genes_that_no_training_cell_expresses_are_counted(
    tiny_atlas, pretrained, finetuning, tiny_execution, caplog
):
    store = tiny_atlas.store
    train_cells = tiny_atlas.split.loc[tiny_atlas.split["split"] == "train", "cell"]
    kept = train_cells.iloc[:2]
    is_dropped = tiny_atlas.split["cell"].isin(set(train_cells) - set(kept))
    split = pd.DataFrame(tiny_atlas.split[~is_dropped])
    seen = {gene for row in store.rows_of(kept) for gene in store.cell(int(row))[1].tolist()}
    config = finetuning.model_copy(update={"epochs": 1})
    finetune_expression(pretrained, store, split, config, tiny_execution, n_bins=10, seed=0)
    (told,) = re.findall(r"(\d+) of (\d+) genes are expressed in no training cell", caplog.text)
    assert told == (str(store.n_genes - len(seen)), str(store.n_genes))
    assert len(seen) < store.n_genes


@pytest.mark.slow
@pytest.mark.parametrize("trainable", ["lora", "frozen_tables"])
def test_a_stopped_adaptation_goes_on_to_the_same_weights(
    tiny_atlas, pretrained, finetuning, tiny_execution, tmp_path, monkeypatch, trainable
):
    def adapted(folder):
        return finetune_expression(
            *(pretrained, tiny_atlas.store, tiny_atlas.split),
            finetuning.model_copy(update={"epochs": 3, "trainable": trainable}),
            tiny_execution.model_copy(update={"checkpoint_updates": 1}),
            n_bins=10,
            seed=0,
            folder=tmp_path / folder,
        ).network.state_dict()

    whole, update, calls = adapted("whole"), loop.update, []

    def stopped_in_the_third(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(*arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(loop, "update", stopped_in_the_third)
        adapted("stopped")
    again = adapted("stopped")
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
