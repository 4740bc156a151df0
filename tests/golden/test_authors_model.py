"""The network returns what the authors' own module returned for the same weights and cells."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from epifoundation.config import ModelConfig
from epifoundation.model.authors import rename_authors
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


def chromosomes_by_token(ids: np.ndarray, chromosomes: np.ndarray, n_tokens: int) -> torch.Tensor:
    by_token = torch.zeros(n_tokens, dtype=torch.long)
    by_token[torch.from_numpy(ids.ravel())] = torch.from_numpy(chromosomes.ravel())
    return by_token


@pytest.fixture(scope="module")
def network(recorded: dict[str, np.ndarray]) -> EpiFoundation:
    sizes = json.loads((GOLDEN / "model_config.json").read_text())
    state = torch.load(GOLDEN / "Epoch_3_Step_12_golden.pth", weights_only=True)["model"]
    network = EpiFoundation(
        ModelConfig(
            n_layers=sizes["depth"],
            n_heads=sizes["heads"],
            d_model=sizes["embed_dim"],
            d_feedforward=sizes["feed_forward"],
            dropout=0.0,
            max_peaks=sizes["padded_peak_length"] - 1,
            max_genes=sizes["padded_gene_length"],
        ),
        Sizes(
            n_peaks=sizes["n_peaks"],
            n_genes=sizes["n_genes"],
            n_chromosomes=len(state["chr_emb.embedding.weight"]) - 4,
            n_batches=len(state["batch_emb.embedding.weight"]),
            n_cell_types=sizes["num_cell_types"],
        ),
        peak_chromosomes=chromosomes_by_token(
            recorded["atac_ids"], recorded["atac_chrs"], sizes["n_peaks"] + 4
        ),
        gene_chromosomes=chromosomes_by_token(
            recorded["rna_ids"], recorded["rna_chrs"], sizes["n_genes"] + 4
        ),
        heads=("genes", "cell_types"),
    )
    network.load_state_dict(rename_authors(state))
    return network.eval()


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


def test_gene_logits_of_real_genes(network, cells, recorded):
    is_gene = recorded["rna_ids"] != 0
    genes = PackedGenes(
        gene_ids=torch.from_numpy(recorded["rna_ids"][is_gene]).int(),
        cell_index=torch.from_numpy(np.nonzero(is_gene)[0]),
        targets=torch.from_numpy(recorded["rna_values"][is_gene]),
    )
    with torch.no_grad():
        logits = network.gene_logits(network(cells), cells, genes).numpy()
    expected = recorded["eval_mvc_logits"][is_gene]
    np.testing.assert_allclose(logits, expected, atol=1e-5, rtol=0)
