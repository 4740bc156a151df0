"""The model directory: what is saved comes back, and what does not fit is refused."""

import dataclasses
import json
import sys
import types
from fnmatch import fnmatch

import pytest
import torch
from safetensors.torch import load_file, save_file

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


def test_a_model_replaces_a_model_and_nothing_else(saved, tmp_path):
    saved.save(tmp_path / "model")
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    saved.save(thesis)  # an empty folder
    other = tmp_path / "work"
    other.mkdir()
    (other / "notes.txt").write_text("years")
    with pytest.raises(ModelError, match="work exists and is no model directory"):
        saved.save(other)
    assert (other / "notes.txt").read_text() == "years"


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


def test_weights_of_another_network_are_named(saved, tmp_path):
    path = tmp_path / "model" / "model.safetensors"
    weights = load_file(path)
    del weights["norm.bias"]
    weights["norm.weight"] = torch.zeros(3)
    weights["peak_batch_norm.running_mean"][2] = torch.nan
    save_file(weights, path)
    with pytest.raises(ModelError) as refused:
        from_pretrained(tmp_path / "model")
    message = str(refused.value)
    assert "1 tensor is missing (first: norm.bias)" in message
    assert "norm.weight is 3, expected 16" in message
    assert "1 tensor is not finite (first: peak_batch_norm.running_mean)" in message


def test_unknown_settings_are_one_line(saved, tmp_path):
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    del config["model"]["d_model"]
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="d_model: Field required") as refused:
        from_pretrained(tmp_path / "model")
    assert "\n" not in str(refused.value)


def test_damaged_vocabulary(saved, tmp_path):
    (tmp_path / "model" / "genes.tsv").unlink()
    with pytest.raises(ModelError, match=r"no genes\.tsv\. Copy the model again"):
        from_pretrained(tmp_path / "model")


def test_a_model_without_its_history_is_a_model(saved, tmp_path):
    for name in ("history.jsonl", "metrics.json", "README.md"):
        (tmp_path / "model" / name).unlink()
    loaded = from_pretrained(tmp_path / "model")
    assert (loaded.history, loaded.metrics) == ([], {})


def test_weights_are_readable_by_whom_the_folder_is(saved, tmp_path):
    modes = {(tmp_path / "model" / n).stat().st_mode for n in ("config.json", "model.safetensors")}
    assert len(modes) == 1


def test_a_name_without_the_client_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install huggingface_hub"):
        from_pretrained("someone/some-model")


def test_a_name_is_fetched_by_the_client(saved, tmp_path, monkeypatch):
    def snapshot_download(repository, *, allow_patterns):
        assert repository == "someone/some-model"
        assert not any(fnmatch(name, p) for name in ("x.py", "x.bin") for p in allow_patterns)
        names = [path.name for path in (tmp_path / "model").iterdir()]
        assert all(any(fnmatch(name, p) for p in allow_patterns) for name in names)
        return str(tmp_path / "model")

    client = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "huggingface_hub", client)
    assert from_pretrained("someone/some-model").cell_types == ("A", "B")

    def fail(*_, **__):
        message = "404 Client Error\nmore"
        raise OSError(message)

    monkeypatch.setattr(client, "snapshot_download", fail)
    with pytest.raises(ModelError, match=r"someone/other .*\(404 Client Error\)"):
        from_pretrained("someone/other")


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        (
            "peaks.bed.gz",
            cut,
            r"peaks\.bed\.gz cannot be read, or is damaged \(Compressed file ended",
        ),
        ("peaks.bed.gz", lambda _: b"", "one of them was edited or cut short"),
        ("genes.tsv", cut, "one of them was edited or cut short"),
        ("vocabulary.json", lambda _: b"[]", r"vocabulary\.json cannot be read"),
        ("vocabulary.json", lambda _: b"{}", r"vocabulary\.json cannot be read"),
        ("metrics.json", cut, r"metrics\.json .* delete it"),
        ("metrics.json", lambda _: b"[1]", r"metrics\.json .*no names and values, but list"),
        ("history.jsonl", cut, r"history\.jsonl .* delete it"),
        ("history.jsonl", lambda _: b"\xff", r"history\.jsonl .* can't decode"),
        ("cell_types.tsv", lambda _: b"", r"cell_types\.tsv, which names the types"),
        ("cell_types.tsv", lambda _: b"A\nB\n", "no column cell_type"),
        ("cell_types.tsv", lambda _: b"cell_type\nA\n", r"cell_types\.tsv is damaged"),
        ("cell_types.tsv", None, r"cell_types\.tsv, which names the types"),
        ("config.json", cut, r"config\.json cannot be read"),
        ("config.json", lambda _: b"[]", r"config\.json .*no names and values, but list"),
        ("config.json", lambda _: b"{}", "names no schema_version"),
        ("config.json", None, r"no model directory: it has no config\.json"),
        ("model.safetensors", cut, r"model\.safetensors cannot be loaded"),
        ("model.safetensors", lambda _: b"", r"model\.safetensors cannot be loaded"),
        ("model.safetensors", flipped, r"model\.safetensors is damaged: it is not what was saved"),
        ("model.safetensors", None, r"model\.safetensors cannot be loaded"),
    ],
)
def test_a_damaged_file_is_one_line(saved, tmp_path, name, damage, said):
    path = tmp_path / "model" / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=said) as refused:
        from_pretrained(tmp_path / "model")
    assert "\n" not in str(refused.value)


def test_a_model_saved_before_hashes_is_a_model(saved, tmp_path):
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    assert set(config.pop("hashes")) == {"model.safetensors", "cell_types.tsv"}
    path.write_text(json.dumps(config))
    assert from_pretrained(tmp_path / "model").cell_types == ("A", "B")
