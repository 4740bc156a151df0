"""Several processes train as one."""

import dataclasses
import json
import os
import pickle
import shutil
import signal
import threading
import time

import numpy as np
import pytest
import torch

from epifoundation.errors import ModelError
from epifoundation.hub import Design, FoundationModel, from_pretrained
from epifoundation.training import launch
from epifoundation.training.distributed import World, devices_of, gathered
from epifoundation.training.launch import spawn
from epifoundation.training.loop import train, train_in, usable
from epifoundation.training.objectives import align_genes
from epifoundation.training.pretrain import pretrain
from epifoundation.training.run import Trained

TWO = [torch.device("cpu")] * 2
NO_DROPOUT = {"dropout": 0.0}


def two_processes(run):
    execution = run.execution.model_copy(update={"n_devices": 2})
    return train(dataclasses.replace(run, execution=execution))


def together(run) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in run.network.parameters()])


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True], ids=["whole", "sharded"])
def test_two_processes_are_one(run_of, tmp_path, sharded, tiny_atlas, tiny_model):
    """On the same minibatches without dropout, BatchNorm live: to 1e-5; tables split or not.

    Each process reads half of each minibatch. A checkpoint of two processes goes on with one and
    with two, and of split tables a model directory is made like any other. One weight in a thousand
    may differ: where the gradient is nothing but rounding (a shift before BatchNorm has none), Adam
    makes whole steps of it, whichever way the rounding went. The learning rate bounds them.
    """
    options = {"model": NO_DROPOUT, "config": {"learning_rate": 5e-5, "min_learning_rate": 5e-5}}
    start, alone = together(run_of(**options)), run_of(**options)
    history = train(alone)
    assert float((together(alone) - start).abs().max()) > 3e-4

    def check_same(run) -> None:
        apart = (together(run) - together(alone)).abs()
        assert float((apart > 1e-5).float().mean()) < 1e-3
        norms = run.network.peak_batch_norm, alone.network.peak_batch_norm
        for name in ("running_mean", "running_var"):
            one, other = (getattr(norm, name) for norm in norms)
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)

    folder = tmp_path / "run"
    execution = {"n_devices": 2, "shard_tables": sharded, "checkpoint_updates": 5}
    both = run_of(folder=folder, execution=execution | {"keep_checkpoints": 9}, **options)
    for one, two in zip(history, train(both), strict=True):
        for name in ("loss", "validation_loss", "accuracy"):
            assert two[name] == pytest.approx(one[name], abs=1e-5), name
        assert two["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-5)
    check_same(both)
    (folder / "step-000000008").rename(tmp_path / "later")
    shutil.copytree(folder / "step-000000005", tmp_path / "middle")
    gone_on = run_of(folder=folder, **options)
    assert len(train(gone_on)) == 2
    check_same(gone_on)
    if sharded:
        for path in folder.glob("step-*"):
            shutil.rmtree(path)
        (tmp_path / "middle").rename(folder / "step-000000005")
        again = run_of(folder=folder, execution=execution, **options)
        assert len(train(again)) == 2
        check_same(again)
    design = Design(tiny_model.model_copy(update=NO_DROPOUT), ("genes",))
    model = FoundationModel(both.network, design, tiny_atlas.vocabulary)
    model.save(tmp_path / "model")
    loaded = from_pretrained(tmp_path / "model").network.state_dict()
    assert all(
        torch.equal(loaded[name], value) for name, value in both.network.state_dict().items()
    )


@pytest.mark.slow
def test_a_refusal_in_a_process_is_this_ones(run_of):
    run = run_of()
    with torch.no_grad():
        run.network.gene_decoder.fc2.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="minibatch 1 of 2 is not finite in epoch 1"):
        two_processes(run)


@dataclasses.dataclass(frozen=True)
class Poisoned:
    """An objective that is no number where one cell is read."""

    row: int
    __name__ = "poisoned"

    def __call__(self, network, minibatch):
        loss = align_genes(network, minibatch)
        factor = float("nan") if self.row in minibatch.rows else 1.0
        return dataclasses.replace(loss, total=loss.total * factor)


@pytest.mark.slow
def test_the_cells_of_the_process_whose_loss_is_no_number_are_named(run_of, tmp_path):
    """The second process reads every other cell of a minibatch, the first one the rest."""
    run = run_of(folder=tmp_path / "run", execution={"checkpoint_updates": 1})
    plan = run.training.shuffled(0, run.config.cells_per_minibatch)
    index = next(i for i, rows in enumerate(plan) if i >= 3 and len(rows) > 1)
    names = run.training.store.cells["cell"].iloc[plan[index][1::2]].tolist()
    with pytest.raises(ModelError) as refused:
        two_processes(dataclasses.replace(run, objective=Poisoned(int(plan[index][1]))))
    which = index % run.config.accumulation_steps + 1
    told = (
        f"the loss of minibatch {which} of 2 is not finite in epoch 1; it has {len(names)} cells"
        f" (first: {', '.join(names[:3])})."
    )
    assert str(refused.value).startswith(told)
    assert f"is kept: {tmp_path / 'run'}/step-00000000" in str(refused.value)


@pytest.mark.slow
def test_a_signal_is_handed_on_and_the_run_goes_on(run_of, tmp_path):
    folder = tmp_path / "run"
    config = {"epochs": 400, "patience": 400}

    def ask() -> None:
        while not (folder / "steps.jsonl").exists() or not (folder / "steps.jsonl").read_text():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(SystemExit) as stopped:
        two_processes(run_of(config=config, folder=folder))
    asking.join()
    assert stopped.value.code == 0
    (saved,) = folder.glob("step-*")
    state = json.loads((saved / "state.json").read_text())["state"]
    assert 0 < state["step"] < 1600


def killed(world: World, run) -> Trained:
    if world.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_in(world, run)


@pytest.mark.slow
def test_a_killed_process_ends_all_with_one_line(run_of):
    with pytest.raises(ModelError, match=r"process 1 of 2 ended without a word \(SIGKILL\)"):
        spawn(killed, run_of(), TWO)


def failing_beside_a_deaf_one(world: World, run) -> Trained:
    if world.rank == 1:
        raise ValueError("the true cause")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(100)
    return train_in(world, run)


@pytest.mark.slow
def test_the_cause_is_logged_where_a_deaf_peer_has_to_be_killed(run_of, monkeypatch, caplog):
    join = launch.ProcessContext.join
    monkeypatch.setattr(launch.ProcessContext, "join", lambda self: join(self, grace_period=1))
    with pytest.raises(ModelError, match="process 0 of 2 ended without a word .* in the log"):
        spawn(failing_beside_a_deaf_one, run_of(), TWO)
    assert "process 1 failed" in caplog.text
    assert "the true cause" in caplog.text


def test_every_cell_is_dealt_out_once():
    rows = np.arange(10, 17)
    parts = [World(rank, 3, TWO[0]).part_of(rows) for rank in range(3)]
    assert sorted(np.concatenate([part for part, _ in parts])) == rows.tolist()
    assert {weight for _, weight in parts} == {1.0}
    few = [World(rank, 3, TWO[0]).part_of(rows[:2]) for rank in range(3)]
    assert all(part.tolist() == [10, 11] for part, _ in few)
    assert sum(weight for _, weight in few) == pytest.approx(1)


@pytest.mark.parametrize(
    ("n_gpus", "n_devices", "told"),
    [
        (0, 1, "no GPU can be used .*training.device: cpu"),
        (1, 2, "n_devices is 2, but GPUs here: 1"),
    ],
)
def test_missing_gpus_are_named(tiny_execution, monkeypatch, n_gpus, n_devices, told):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    execution = tiny_execution.model_copy(update={"device": "cuda"})
    with pytest.raises(ModelError, match=told):
        devices_of(execution, n_devices)


def test_auto_takes_the_gpu_where_there_is_one(tiny_execution, monkeypatch):
    execution = tiny_execution.model_copy(update={"device": "auto"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices_of(execution, 2) == TWO
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices_of(execution, 2) == [torch.device("cuda", 0), torch.device("cuda", 1)]


def test_the_first_process_alone_copies_what_is_saved():
    tensors = [("weight", torch.ones(2))]
    copied = gathered(tensors, World(0, 2, TWO[0]))["weight"]
    assert torch.equal(copied, tensors[0][1])
    assert copied is not tensors[0][1]
    assert gathered(tensors, World(1, 2, TWO[0])) == {}


def test_generators_of_other_devices_are_left_alone(run_of, monkeypatch):
    real, devices = torch.random.fork_rng, []

    def recorded(which):
        devices.append(which)
        return real(which)

    monkeypatch.setattr(torch.random, "fork_rng", recorded)
    train(run_of(config={"epochs": 1}))
    assert devices == [[], []]  # to build, and to train


def test_several_processes_on_a_cpu_are_told(tiny_execution, caplog):
    assert devices_of(tiny_execution, 2) == TWO
    assert "n_devices is 2 and no GPU is used: as many processes share the CPU" in caplog.text
    caplog.clear()
    assert devices_of(tiny_execution, 1) == TWO[:1]
    assert not caplog.text


def test_a_missing_gpu_is_told_before_anything_is_built(tiny_execution, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    execution = tiny_execution.model_copy(update={"device": "cuda"})
    assert usable(tiny_execution) is tiny_execution
    with pytest.raises(ModelError, match="no GPU can be used"):
        usable(execution)
    with pytest.raises(ModelError, match="no GPU can be used"):
        pretrain(None, None, None, None, None, execution, variant="full", seed=0)


def test_memory_maps_are_passed_on_as_files(run_of, tmp_path):
    run = run_of()
    with (tmp_path / "run").open("wb") as handle:
        launch._Parcel(handle).dump(run.training)
    stored = run.training.store.peak_tokens.nbytes
    assert isinstance(run.training.store.peak_tokens.base, np.memmap)
    content = (tmp_path / "run").read_bytes()
    assert b"peak_tokens.npy" in content
    assert np.asarray(run.training.store.peak_tokens).tobytes()[:400] not in content
    assert stored > 400
    with (tmp_path / "run").open("rb") as handle:
        passed = pickle.load(handle).store.peak_tokens
    assert type(passed) is np.ndarray
    assert isinstance(passed.base, np.memmap)
    np.testing.assert_array_equal(passed, run.training.store.peak_tokens)
