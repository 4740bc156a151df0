"""A checkpoint is gone on from only by the run that it is of."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

import epifoundation
from epifoundation.training import checkpoint
from epifoundation.training.loop import train


def weights(run, **_):
    with torch.no_grad():
        run.network.gene_decoder.fc2.bias.add_(1.0)
    return run


def chromosomes(run, **_):
    run.network.peak_chromosomes.add_(1)
    return run


def frozen(run, **_):
    run.network.peak_embedding.table.weight.requires_grad_(False)
    return run


def trained_on(run, **changed):
    return dataclasses.replace(run, training=dataclasses.replace(run.training, **changed))


def most_peaks(run, **_):
    return trained_on(run, max_peaks=59)


def most_genes(run, **_):
    return trained_on(run, max_genes=38)


def draws(run, **_):
    return trained_on(run, seed=1)


def levels(run, **_):
    values = np.ones(len(run.training.store.gene_tokens), np.uint8)
    values[-1] = 2
    return trained_on(run, gene_values=values)


def types(run, **_):
    return trained_on(run, cell_type_ids=np.zeros(run.training.store.n_cells, np.int64))


def batches(run, **_):
    swapped = run.training.batch_ids.copy()
    swapped[run.training.rows[0]] ^= 1
    return trained_on(run, batch_ids=swapped)


def validation_batches(run, **_):
    validation = dataclasses.replace(run.validation, batch_ids=None)
    return dataclasses.replace(run, validation=validation)


def peaks_of_cells(run, **_):
    indptr = np.array(run.training.store.peak_indptr)
    indptr[5] += 1
    return trained_on(run, store=dataclasses.replace(run.training.store, peak_indptr=indptr))


def names(run, **_):
    cells = run.training.store.cells.copy()
    cells.loc[run.training.rows[0], "cell"] += "-other"
    return trained_on(run, store=dataclasses.replace(run.training.store, cells=cells))


def version(run, monkeypatch):
    monkeypatch.setattr(epifoundation, "__version__", "0.0.0")
    return run


CHANGES = (
    weights,
    chromosomes,
    frozen,
    most_peaks,
    most_genes,
    draws,
    levels,
    types,
    batches,
    validation_batches,
    peaks_of_cells,
    names,
    version,
)


def test_the_same_run_has_the_same_fingerprint(run_of):
    one, other = run_of(), run_of(execution={"n_workers": 2, "n_devices": 2})
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_decides_the_result_is_in_the_fingerprint(run_of, monkeypatch, change):
    before = run_of().fingerprint
    assert change(run_of(), monkeypatch=monkeypatch).fingerprint != before


def test_a_run_from_other_weights_starts_anew(run_of, tmp_path, caplog):
    folder = tmp_path / "run"
    train(run_of(folder=folder))
    anew, fresh = weights(run_of(folder=folder)), weights(run_of())
    caplog.set_level("INFO")
    train(anew)
    train(fresh)
    assert "other data or settings" in caplog.text
    states = anew.network.state_dict(), fresh.network.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def rewritten(folder, change) -> None:
    document = json.loads((folder / "state.json").read_text())
    change(document["state"])
    document["digest"] = checkpoint._digest(document["state"])
    (folder / "state.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    "change",
    [lambda state: state.update(colour=1), lambda state: state.pop("hashes")],
    ids=["unknown field", "lacking field"],
)
def test_a_state_of_other_fields_falls_back_to_the_one_before(run_of, tmp_path, caplog, change):
    folder = tmp_path / "run"
    train(run_of(folder=folder, execution={"checkpoint_updates": 1}))
    rewritten(folder / "step-000000008", change)
    caplog.set_level("INFO")
    assert len(train(run_of(folder=folder))) == 2
    assert "step-000000008 is damaged" in caplog.text
    assert "step-000000007: going on" in caplog.text


def test_other_settings_set_checkpoints_aside_and_the_same_ones_bring_them_back(
    run_of, tmp_path, caplog
):
    """With their metrics; each of three learning rates keeps its own."""
    folder = tmp_path / "run"
    caplog.set_level("INFO")
    train(run_of(folder=folder))
    of_first = (folder / "step-000000008" / "state.json").read_text()
    metrics = (folder / "steps.jsonl").read_text()
    for rate in (2e-3, 3e-3):
        train(run_of(folder=folder, config={"learning_rate": rate}))
    shelves = list((folder / "aside").iterdir())
    assert len(shelves) == 2
    (shelf,) = (s for s in shelves if (s / "steps.jsonl").read_text() == metrics)
    assert (shelf / "step-000000008" / "state.json").read_text() == of_first
    assert f"1 of other data or settings set aside in {shelf}" in caplog.text
    caplog.clear()
    assert len(train(run_of(folder=folder))) == 2
    assert f"{folder}: back from {shelf}" in caplog.text
    assert "step-000000008: going on in epoch 3 after update 0" in caplog.text
    assert (folder / "steps.jsonl").read_text() == metrics
    assert len(list((folder / "aside").iterdir())) == 2
    checkpoint.forget(folder)
    assert [path.name for path in folder.iterdir()] == ["steps.jsonl"]


LOWER = {"config": {"learning_rate": 5e-4, "epochs": 3}}
GO_ON = {"execution": {"changed_settings": "go_on"}}


def test_another_learning_rate_goes_on_where_that_is_asked_for(run_of, tmp_path, caplog):
    """The record of its first epoch says that settings changed; a restart changes nothing."""
    folder, apart = tmp_path / "run", tmp_path / "apart"
    before = train(run_of(folder=folder))
    shutil.copytree(folder, apart)
    caplog.set_level("INFO")
    history = train(run_of(folder=folder, **LOWER, **GO_ON))
    told = "going on with other settings: epochs 2 -> 3, learning_rate 0.001 -> 0.0005"
    assert f"{folder / 'step-000000008'}: {told}" in caplog.text
    assert history[:2] == before
    assert [record.get("changed_settings") for record in history] == [None, None, 2]
    assert [record["epoch"] for record in history] == [1, 2, 3]
    assert not (folder / "aside").exists()
    lines = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines if "loss" in line]
    assert len(rates) == 12
    assert max(rates[:8]) > 5e-4 > max(rates[8:])
    anew = train(run_of(folder=apart, **LOWER))
    assert "changed_settings" not in anew[0]
    assert [r["loss"] for r in anew] == [r["loss"] for r in train(run_of(**LOWER))]
    assert f"remove {apart / 'step-*'} and set training.changed_settings: go_on" in caplog.text


def test_what_was_set_aside_is_gone_on_from_as_the_log_says(run_of, tmp_path):
    folder = tmp_path / "run"
    before = train(run_of(folder=folder))
    train(run_of(folder=folder, **LOWER))
    for path in folder.glob("step-*"):
        shutil.rmtree(path)
    assert train(run_of(folder=folder, **LOWER, **GO_ON))[:2] == before


@pytest.mark.parametrize("change", [weights, draws, most_peaks])
def test_other_data_are_never_gone_on_from(run_of, tmp_path, caplog, change):
    folder = tmp_path / "run"
    train(run_of(folder=folder))
    losses = [
        [record["loss"] for record in train(change(run_of(folder=where, **GO_ON)))]
        for where in (folder, None)
    ]
    assert losses[0] == losses[1]
    assert "set aside in" in caplog.text
    assert "go_on" not in caplog.text


def test_every_setting_of_a_stage_decides_or_steers(run_of):
    run = run_of()
    assert run.steering.keys() < set(type(run.config).model_fields)
    other = run_of(config={"cells_per_minibatch": 3})
    assert (other.fingerprint != run.fingerprint) and other.steering == run.steering
    slower = run_of(config={"warmup_fraction": 0.5})
    assert (slower.fingerprint == run.fingerprint) and slower.steering != run.steering
