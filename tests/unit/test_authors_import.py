"""The authors' checkpoint and JSON files become a model, or one line says what does not fit."""

import json
import re
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

import epifoundation
from epifoundation.cli import main
from epifoundation.errors import ModelError
from epifoundation.hub import import_authors
from epifoundation.hub.authors_vocabularies import read_authors_vocabularies

GOLDEN = Path(__file__).parents[2] / "../shared/golden/authors_model"
THEIRS = (  # our names to theirs, written apart from the table the import uses
    (r"^peak_embedding\.", "atac_emb."),
    (r"^gene_embedding\.", "rna_emb."),
    (r"^chromosome_embedding\.", "chr_emb."),
    (r"^batch_embedding\.", "batch_emb."),
    (r"_emb\.table\.", "_emb.embedding."),
    (r"_emb\.norm\.", "_emb.enc_norm."),
    (r"^blocks\.", "encoder.transformer_encoder.layers."),
    (r"\.attention\.qkv\.", ".self_attn.Wqkv."),
    (r"\.attention\.out\.", ".self_attn.out_proj."),
    (r"^peak_batch_norm\.", "bn_atac."),
    (r"^gene_batch_norm\.", "bn_rna."),
    (r"^cell_type_head\.layers\.", "cls_decoder._decoder."),
    (r"^cell_type_head\.out\.", "cls_decoder.out_layer."),
    (r"^gene_decoder\.", "mvc_decoder."),
)
N_PEAKS, N_GENES = 12, 6


def _theirs(name: str) -> str:
    for ours, theirs in THEIRS:
        name = re.sub(ours, theirs, name)
    return name


def _numbered(names: list[str], *, special: bool) -> dict[str, int]:
    first = ["<pad>", "<mask>", "<cls>", "<eos>"] if special else []
    return {name: i for i, name in enumerate([*first, *names])}


@pytest.fixture
def vocabularies(tmp_path) -> Path:
    """Small JSON files of the authors' layout."""
    folder = tmp_path / "vocabularies"
    folder.mkdir()
    peaks = [f"chr{1 + i % 2}-{100 * i + 1}-{100 * i + 50}" for i in range(N_PEAKS)]
    genes = [f"G{i}" for i in range(N_GENES)]
    files = {
        "atac_vocab": _numbered(peaks, special=True),
        "rna_vocab": _numbered(genes, special=True),
        "chr_vocab": _numbered(["chr1", "chr2"], special=True),
        "batch_vocab": _numbered(["b"], special=False),
        "cell_vocab": _numbered(["A", "B"], special=False),
        "gene2chr": dict.fromkeys(genes, "chr1"),
    }
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def state(vocabularies, tiny_model) -> dict[str, torch.Tensor]:
    """A state dict of random weights under the authors' names."""
    from epifoundation.hub import Design, build_network

    vocabulary, types = read_authors_vocabularies(vocabularies)
    torch.manual_seed(0)
    network = build_network(
        Design(tiny_model, ("genes", "cell_types")), vocabulary, n_cell_types=len(types)
    )
    return {_theirs(name): tensor for name, tensor in network.state_dict().items()}


@pytest.fixture
def checkpoint(state, tmp_path) -> Path:
    """A checkpoint of the authors' layout."""
    return _save(state, tmp_path)


def _save(state: dict[str, torch.Tensor], folder: Path, **more: object) -> Path:
    path = folder / "Epoch_1_Step_2.pth"
    told = {"epoch": 1, "steps": 2, "optimizer": {}, "scheduler": {}, "losses": 0.5}
    torch.save({**told, "model": state, **more}, path)
    return path


def test_command_makes_a_model_that_reads_cells(checkpoint, vocabularies, state, tmp_path):
    paths = ["--checkpoint", checkpoint, "--vocabularies", vocabularies]
    arguments = ["import-weights", *paths, "--output", tmp_path / "model", "--heads", "2"]
    assert main([str(argument) for argument in arguments]) == 0
    model = epifoundation.from_pretrained(tmp_path / "model")
    weights = {_theirs(name): tensor for name, tensor in model.network.state_dict().items()}
    assert weights.keys() == state.keys()
    assert all(torch.equal(weights[name], state[name]) for name in state)
    assert (model.told["epoch"], model.told["source"]) == ("1", checkpoint.name)
    assert model.cell_types == ("A", "B")
    assert model.vocabulary.peaks.loc[1, ["chrom", "start", "end"]].tolist() == ["chr2", 100, 150]
    names = model.vocabulary.peaks["name"].to_numpy()
    cells = ad.AnnData(np.eye(3, N_PEAKS), var=pd.DataFrame(index=names))
    assert np.isfinite(model.embed(cells)).all()


def test_prefix_of_distributed_training_is_taken_off(state, vocabularies, tmp_path):
    path = _save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path)
    assert import_authors(path, vocabularies, n_heads=2).told["steps"] == "2"


def test_half_precision_becomes_single(state, vocabularies, tmp_path):
    halved = {n: t.bfloat16() if t.is_floating_point() else t for n, t in state.items()}
    model = import_authors(_save(halved, tmp_path), vocabularies, n_heads=2)
    assert {p.dtype for p in model.network.parameters()} == {torch.float32}


def test_what_is_missing_superfluous_and_of_another_shape_is_named(state, vocabularies, tmp_path):
    del state["bn_atac.running_var"]
    changed = {"rope.angle": torch.zeros(2), "atac_emb.embedding.weight": torch.zeros(3, 16)}
    with pytest.raises(ModelError) as refused:
        import_authors(_save(state | changed, tmp_path), vocabularies, n_heads=2)
    message = str(refused.value)
    assert "1 tensor is missing (first: bn_atac.running_var)" in message
    assert "atac_emb.embedding.weight is 3 × 16, expected 16 × 16 for" in message
    assert "atac_vocab.json" in message
    assert "1 tensor is unknown to this network (first: rope.angle)" in message


def test_code_in_a_checkpoint_is_not_run(state, vocabularies, tmp_path):
    path = _save(state, tmp_path, scheduler=Path("anything that is no tensor"))
    with pytest.raises(ModelError, match="could run code and is not read"):
        import_authors(path, vocabularies)


@pytest.mark.parametrize("content", [b"", b"no checkpoint"], ids=["empty", "text"])
def test_a_file_that_is_no_checkpoint(checkpoint, vocabularies, content):
    checkpoint.write_bytes(content)
    with pytest.raises(ModelError, match=r"Epoch_1_Step_2\.pth is no"):
        import_authors(checkpoint, vocabularies)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_checkpoint_that_is_cut_short(checkpoint, vocabularies, share):
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match=r"cut short: after [\d,]+ bytes its end is missing"):
        import_authors(checkpoint, vocabularies)


def test_a_checkpoint_of_which_a_byte_is_wrong(checkpoint, vocabularies, state):
    content = bytearray(checkpoint.read_bytes())
    weights = state["atac_emb.embedding.weight"].numpy().tobytes()
    content[content.index(weights) + 8] ^= 1
    checkpoint.write_bytes(content)
    with pytest.raises(ModelError, match=r"is damaged: the checksum of .*/data/\d+ is wrong"):
        import_authors(checkpoint, vocabularies)


def test_an_older_checkpoint_that_is_no_archive(checkpoint, state, vocabularies):
    """As torch saved before 1.6."""
    told = {"epoch": 1, "model": state}
    torch.save(told, checkpoint, _use_new_zipfile_serialization=False)
    assert import_authors(checkpoint, vocabularies, n_heads=2).told["epoch"] == "1"
    content = checkpoint.read_bytes()
    for share in (0.1, 0.9):
        checkpoint.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ModelError, match=r"Epoch_1_Step_2\.pth is no"):
            import_authors(checkpoint, vocabularies, n_heads=2)


def test_a_checkpoint_of_something_else(vocabularies, tmp_path):
    torch.save({"weights": {}}, tmp_path / "x.pth")
    with pytest.raises(ModelError, match=r"no state dict under the key `model` \(found: weights\)"):
        import_authors(tmp_path / "x.pth", vocabularies)
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "x.pth")
    with pytest.raises(ModelError, match=r"1 tensors, first: a"):
        import_authors(tmp_path / "x.pth", vocabularies)


def test_heads_that_do_not_divide_the_width(checkpoint, vocabularies):
    with pytest.raises(ModelError, match="16 wide, which 3 heads do not divide"):
        import_authors(checkpoint, vocabularies, n_heads=3)


BROKEN = {
    "id twice": ("rna_vocab", lambda ids: ids | {"G5": 5}, "id 5 stands twice"),
    "gap": ("cell_vocab", lambda ids: ids | {"B": 9}, "the largest is 9"),
    "no id": ("batch_vocab", lambda ids: ids | {"b": "0"}, r"no whole number as id \(first: b\)"),
    "no special": ("chr_vocab", lambda ids: {"c1": 0, "c2": 1, "c3": 2, "c4": 3}, "expected <pad>"),
    "peak": ("atac_vocab", lambda ids: ids | {"chr1:1-5": 16}, r"1 of 13 .* \(first: chr1:1-5\)"),
    "gene": ("gene2chr", lambda by: {"G0": "chr1"}, r"5 of 6 genes .* \(first: G1\)"),
    "chromosome": ("gene2chr", lambda by: by | {"G0": "chr9"}, r"1 of 6 .* \(first: chr9\)"),
    "list": ("gene2chr", list, "holds no names and ids, but list"),
}


@pytest.mark.parametrize(("name", "change", "said"), BROKEN.values(), ids=BROKEN)
def test_broken_vocabularies_say_what_is_wrong(checkpoint, vocabularies, name, change, said):
    path = vocabularies / f"{name}.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ModelError, match=said):
        import_authors(checkpoint, vocabularies, n_heads=2)


def test_absent_and_cut_vocabularies(checkpoint, vocabularies):
    path = vocabularies / "cell_vocab.json"
    path.write_text(path.read_text()[:-3])
    with pytest.raises(ModelError, match=r"cell_vocab\.json cannot be read"):
        import_authors(checkpoint, vocabularies)
    path.unlink()
    (vocabularies / "gene2chr.json").unlink()
    with pytest.raises(ModelError, match=r"lacks cell_vocab\.json, gene2chr\.json"):
        import_authors(checkpoint, vocabularies)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the authors' recorded model is not beside us")
def test_recorded_checkpoint_by_command_and_embeddings(tmp_path):
    recorded = dict(np.load(GOLDEN / "io.npz"))
    paths = ["--checkpoint", GOLDEN / "Epoch_3_Step_12_golden.pth", "--vocabularies", GOLDEN]
    arguments = ["import-weights", *paths, "--output", tmp_path / "model"]
    assert main([str(argument) for argument in arguments]) == 0
    model = epifoundation.from_pretrained(tmp_path / "model")
    values = np.zeros((4, model.vocabulary.n_peaks))
    for cell, ids in enumerate(recorded["atac_ids"]):
        values[cell, ids[ids > 3] - 4] = 1
    cells = ad.AnnData(values, var=pd.DataFrame(index=model.vocabulary.peaks["name"].to_numpy()))
    expected = recorded["eval_cell_embedding"]
    np.testing.assert_allclose(model.embed(cells), expected, atol=1e-5, rtol=0)
