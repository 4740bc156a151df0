"""A checkpoint is gone on from only by the run that it is of."""

import dataclasses
import json

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


def test_checkpoints_of_other_settings_are_set_aside(run_of, tmp_path, caplog):
    """One generation of them; moved back, they are gone on from."""
    folder, other = tmp_path / "run", {"config": {"learning_rate": 2e-3}}
    train(run_of(folder=folder))
    (folder / "aside" / "step-000000001").mkdir(parents=True)  # of a generation before
    caplog.set_level("INFO")
    of_first = (folder / "step-000000008" / "state.json").read_text()
    train(run_of(folder=folder, **other))  # which ends at the same step
    assert (folder / "aside" / "step-000000008" / "state.json").read_text() == of_first
    (folder / "step-000000008").rename(folder / "step-000000004")
    assert [path.name for path in folder.glob("aside/*")] == ["step-000000008"]
    assert f"1 of other data or settings set aside in {folder / 'aside'}" in caplog.text
    (folder / "aside" / "step-000000008").rename(folder / "step-000000008")
    caplog.clear()
    assert len(train(run_of(folder=folder))) == 2
    assert "step-000000008: going on at epoch 2" in caplog.text
    assert [path.name for path in folder.glob("step-*")] == ["step-000000008"]
    assert [path.name for path in folder.glob("aside/*")] == ["step-000000004"]
    checkpoint.forget(folder)
    assert [path.name for path in folder.iterdir()] == ["steps.jsonl"]
