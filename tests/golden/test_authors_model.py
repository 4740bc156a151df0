"""The network returns what the authors' own module returned for the same weights and cells."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from epifoundation.errors import ModelError
from epifoundation.hub import FoundationModel, build_network, from_pretrained, import_authors
from epifoundation.model.authors import rename_authors
from epifoundation.model.losses import cross_entropy
from epifoundation.model.network import EpiFoundation, Sizes
from epifoundation.model.packing import PackedCells, PackedGenes

GOLDEN = Path(__file__).parents[2] / "../shared/golden/authors_model"
pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="recorded outputs of the authors' model are not beside the checkout"
)


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    """Inputs, padded, and outputs of the authors' module."""
    return dict(np.load(GOLDEN / "io.npz"))


@pytest.fixture(scope="module")
def model() -> FoundationModel:
    sizes = json.loads((GOLDEN / "model_config.json").read_text())
    checkpoint = GOLDEN / "Epoch_3_Step_12_golden.pth"
    return import_authors(checkpoint, GOLDEN, n_heads=sizes["heads"])


@pytest.fixture(scope="module")
def network(model: FoundationModel) -> EpiFoundation:
    return model.network


def test_chromosomes_of_tokens_are_those_recorded(network, recorded):
    for kind, by_token in (("atac", network.peak_chromosomes), ("rna", network.gene_chromosomes)):
        ids = torch.from_numpy(recorded[f"{kind}_ids"])
        assert by_token[ids].tolist() == recorded[f"{kind}_chrs"].tolist()


@pytest.fixture(scope="module")
def cells(recorded: dict[str, np.ndarray]) -> PackedCells:
    ids = recorded["atac_ids"]
    lengths = (ids != 0).sum(axis=1)
    return PackedCells(
        token_ids=torch.from_numpy(ids[ids != 0]).int(),
        cu_seqlens=torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)])).int(),
        max_seqlen=int(lengths.max()),
        batch_ids=torch.from_numpy(recorded["batch_ids"]),
    )


def test_cell_embeddings(network, cells, recorded):
    with torch.no_grad():
        embeddings = network(cells).numpy()
    np.testing.assert_allclose(embeddings, recorded["eval_cell_embedding"], atol=1e-5, rtol=0)


def test_cell_type_logits(network, cells, recorded):
    with torch.no_grad():
        logits = network.cell_type_logits(network(cells)).numpy()
    np.testing.assert_allclose(logits, recorded["eval_cell_type_logits"], atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def genes(recorded: dict[str, np.ndarray]) -> PackedGenes:
    is_gene = recorded["rna_ids"] != 0
    return PackedGenes(
        gene_ids=torch.from_numpy(recorded["rna_ids"][is_gene]).int(),
        cell_index=torch.from_numpy(np.nonzero(is_gene)[0]),
        targets=torch.from_numpy(recorded["rna_values"][is_gene]),
    )


def test_gene_logits_of_real_genes(network, cells, genes, recorded):
    with torch.no_grad():
        logits = network.gene_logits(network(cells), cells, genes).numpy()
    expected = recorded["eval_mvc_logits"][recorded["rna_ids"] != 0]
    np.testing.assert_allclose(logits, expected, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def trained(model, cells, genes, recorded) -> tuple[EpiFoundation, torch.Tensor, torch.Tensor]:
    """Network, logits and loss after one backward pass without dropout, as if padded."""
    sizes = json.loads((GOLDEN / "model_config.json").read_text())
    config = model.design.config.model_copy(
        update={
            "batch_norm": "padded",
            "dropout": 0.0,
            "max_peaks": sizes["padded_peak_length"] - 1,  # theirs counts the [CLS]
            "max_genes": sizes["padded_gene_length"],
        }
    )
    design = dataclasses.replace(model.design, config=config)
    network = build_network(design, model.vocabulary, n_cell_types=len(model.cell_types))
    network.load_state_dict(model.network.state_dict())
    logits = network.train().gene_logits(network(cells), cells, genes)
    loss = cross_entropy(logits, genes.targets)
    mean = loss.total / loss.count
    mean.backward()
    assert len(recorded["rna_ids"]) * sizes["padded_gene_length"] > len(genes.gene_ids)
    return network, logits.detach(), mean.detach()


def test_training_loss_and_logits(trained, recorded):
    _, logits, loss = trained
    assert float(loss) == pytest.approx(float(recorded["train_loss"]), abs=1e-6)
    expected = recorded["train_mvc_logits"][recorded["rna_ids"] != 0]
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-5, rtol=0)


def test_batch_norm_statistics_after_a_training_step(trained, recorded):
    norm = trained[0].peak_batch_norm
    for name in ("running_mean", "running_var"):
        expected = recorded[f"train_bn_atac_{name}"]
        np.testing.assert_allclose(norm.get_buffer(name).numpy(), expected, atol=1e-6, rtol=0)


def test_batch_norm_statistics_of_genes_are_those_of_padded_tensors(model, trained, recorded):
    """The authors' are not recorded; torch's own norm of what they lay out, padding included."""
    before, after = model.network, trained[0].gene_batch_norm
    norm = torch.nn.BatchNorm1d(model.design.config.d_model, eps=after.eps, momentum=0.1)
    norm.load_state_dict(before.gene_batch_norm.state_dict())
    ids, chromosomes = (torch.from_numpy(recorded[name]) for name in ("rna_ids", "rna_chrs"))
    assert (ids == 0).any()
    with torch.no_grad():
        padded = before.gene_embedding(ids) + before.chromosome_embedding(chromosomes)
        norm.train()(padded.flatten(0, 1))
    for name in ("running_mean", "running_var"):
        expected = norm.get_buffer(name).numpy()
        assert not np.allclose(expected, before.gene_batch_norm.get_buffer(name), atol=1e-3)
        np.testing.assert_allclose(after.get_buffer(name).numpy(), expected, atol=1e-6, rtol=0)


def test_every_gradient_norm(trained):
    recorded = json.loads((GOLDEN / "train_grad_norms.json").read_text())
    network = trained[0]
    expected = {
        next(iter(rename_authors({name: torch.empty(0)}))): norm for name, norm in recorded.items()
    }
    found = {
        name: float(parameter.grad.norm())
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    assert found.keys() == expected.keys()
    largest = max(expected.values())
    for name, norm in expected.items():
        # Norms that are zero but for rounding (a bias before BatchNorm) have no relative error.
        assert found[name] == pytest.approx(norm, rel=1e-3, abs=1e-6 * largest), name


STATE_DICT = GOLDEN / "../../semantics/authors_state_dict.txt"


@pytest.mark.skipif(
    not STATE_DICT.is_file(), reason="the authors' parameter names are not beside the checkout"
)
def test_every_parameter_of_the_authors_has_one_here_and_none_is_more(model):
    """At their sizes: 200,000 peaks, 20,000 genes, 30 batches, 56 cell types."""
    line = re.compile(r"^(\S+) +\(([\d, ]*)\) (?:float32|int64)$", re.MULTILINE)
    theirs = {
        name: torch.empty([int(n) for n in shape.split(",") if n.strip()], device="meta")
        for name, shape in line.findall(STATE_DICT.read_text())
    }
    sizes = Sizes(n_peaks=200_000, n_genes=20_000, n_chromosomes=24, n_batches=30, n_cell_types=56)
    config = model.design.config.model_copy(
        update={"n_layers": 6, "n_heads": 8, "d_model": 512, "d_feedforward": 1024}
    )
    with torch.device("meta"):
        network = EpiFoundation(
            config,
            sizes,
            peak_chromosomes=torch.empty(200_004),
            gene_chromosomes=torch.empty(20_004),
            heads=("genes", "cell_types"),
        )
    renamed = rename_authors(theirs)
    assert len(renamed) == len(theirs) > 100
    ours = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert ours == {name: tensor.shape for name, tensor in renamed.items()}
    assert sum(p.numel() for p in network.parameters()) == 126_067_259


def test_imported_model_is_a_model_directory(model, cells, tmp_path):
    model.save(tmp_path / "model")
    loaded = from_pretrained(tmp_path / "model")
    with torch.no_grad():
        assert torch.equal(loaded.network(cells), model.network(cells))
    assert loaded.cell_types == model.cell_types


def test_other_vocabularies_do_not_fit(tmp_path):
    for path in GOLDEN.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    ids = json.loads((tmp_path / "cell_vocab.json").read_text())
    (tmp_path / "cell_vocab.json").write_text(json.dumps({**ids, "one more": len(ids)}))
    with pytest.raises(ModelError, match="does not fit the vocabularies"):
        import_authors(GOLDEN / "Epoch_3_Step_12_golden.pth", tmp_path, n_heads=4)
