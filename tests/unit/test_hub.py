"""The model directory: what is saved comes back, and what does not fit is refused."""

import dataclasses
import json

import pytest
import torch

import epifoundation
from epifoundation.errors import ModelError
from epifoundation.hub import Design, FoundationModel, from_pretrained


@pytest.fixture
def saved(tiny_atlas, tiny_model, tmp_path) -> FoundationModel:
    design = Design(tiny_model, ("cell_types",), use_batch=False, use_chromosome=True)
    built = FoundationModel.build(design, tiny_atlas.vocabulary, cell_types=("A", "B"), seed=0)
    model = dataclasses.replace(
        built,
        told={"stage": "test"},
        metrics={"validation_loss": 0.5},
        history=[{"epoch": 1, "loss": 0.7}],
    )
    model.save(tmp_path / "model")
    return model


def test_round_trip(saved, tmp_path):
    loaded = epifoundation.from_pretrained(tmp_path / "model")
    assert loaded.design == saved.design
    assert loaded.cell_types == ("A", "B")
    assert loaded.vocabulary.hash == saved.vocabulary.hash
    assert (loaded.told, loaded.metrics, loaded.history) == (
        saved.told,
        saved.metrics,
        saved.history,
    )
    for name, tensor in saved.network.state_dict().items():
        assert torch.equal(tensor, loaded.network.state_dict()[name]), name
    assert not loaded.network.training


def test_files_of_the_directory(saved, tmp_path):
    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert files >= {
        "config.json",
        "model.safetensors",
        "peaks.bed.gz",
        "genes.tsv",
        "chromosomes.txt",
        "cell_types.tsv",
        "batches.txt",
        "metrics.json",
        "README.md",
        "history.jsonl",
    }
    assert "2 cell types" in (tmp_path / "model" / "README.md").read_text()


def test_other_vocabulary_is_refused(saved, tiny_atlas, tmp_path):
    other = dataclasses.replace(tiny_atlas.store, vocabulary_hash="other")
    with pytest.raises(ModelError, match="vocabulary other"):
        saved.check_store(other)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["vocabulary_hash"] = "other"
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="belong to vocabulary other"):
        from_pretrained(tmp_path / "model")


def test_other_schema_names_the_version_that_reads_it(saved, tmp_path):
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config |= {"schema_version": 99, "package_version": "9.9"}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"epifoundation 9\.9"):
        from_pretrained(tmp_path / "model")


def test_damaged_weights_and_missing_folder(saved, tmp_path):
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot be loaded"):
        from_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="no model directory"):
        from_pretrained(tmp_path / "nothing")
