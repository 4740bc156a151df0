"""The packed network: the same cell gives the same numbers, whatever it is packed with."""

import dataclasses

import pytest
import torch
from torch.nn import functional

from epifoundation.config import ModelConfig
from epifoundation.data import vocabulary
from epifoundation.model.losses import cross_entropy, squared_error
from epifoundation.model.network import N_SPECIAL, EpiFoundation, Sizes
from epifoundation.model.packing import PackedCells, PackedGenes

CELLS = [[5, 9, 23, 40], [7], [4, 5, 6, 7, 8, 50, 53], [11, 12, 13]]


def test_special_tokens_are_those_of_the_vocabulary():
    assert vocabulary.N_SPECIAL == N_SPECIAL


def test_packed_is_one_cell_at_a_time(build, pack):
    network = build()
    together = network(pack(CELLS))
    alone = torch.cat([network(pack([cell])) for cell in CELLS])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_order_of_peaks_does_not_matter(build, pack):
    network = build()
    reversed_cells = [cell[::-1] for cell in CELLS]
    torch.testing.assert_close(
        network(pack(CELLS)), network(pack(reversed_cells)), atol=1e-6, rtol=0
    )


def test_a_cell_without_peaks_is_its_cls_token_and_harms_no_other(build, pack):
    network = build()
    z = network(pack([[5, 9], [], [7]]))
    assert torch.isfinite(z).all()
    torch.testing.assert_close(z[[0, 2]], network(pack([[5, 9], [7]])), atol=1e-6, rtol=0)


def test_cells_of_a_pack_do_not_see_each_other(build, pack):
    network, cells = build(), pack(CELLS)
    read = {}
    network.peak_embedding.register_forward_hook(lambda *args: read.update(x=args[2]))
    z = network(cells)
    gradient = torch.autograd.grad(z[2].square().sum(), read["x"])[0]
    per_token = gradient.abs().sum(dim=1)
    start, end = cells.cu_seqlens[2:4]
    assert (per_token[start:end] > 0).all()
    assert per_token[:start].sum() == 0
    assert per_token[end:].sum() == 0


def test_cls_row_of_the_last_block_is_the_row_of_the_whole_block(build, pack):
    network, cells = build(), pack(CELLS)
    x = torch.randn(cells.n_tokens, 16)
    block = network.blocks[-1]
    every_row = block(x, cells)[cells.cu_seqlens[:-1]]
    torch.testing.assert_close(block(x, cells, cls_only=True), every_row, atol=1e-6, rtol=0)


def test_split_decoder_is_the_decoder_on_concatenated_inputs(build):
    decoder = build().gene_decoder
    cells, genes = torch.randn(2, 32), torch.randn(5, 16)
    index = torch.tensor([0, 0, 1, 1, 1])
    queries = torch.sigmoid(decoder.gene2query(genes))
    hidden = decoder.hidden_activation(decoder.fc1(torch.cat([cells[index], queries], dim=1)))
    expected = decoder.fc2(hidden)
    torch.testing.assert_close(decoder(cells, genes, index), expected, atol=1e-6, rtol=0)
    grid = decoder.every_gene(cells, genes)
    torch.testing.assert_close(grid[index, torch.arange(5)], expected, atol=1e-6, rtol=0)


def test_every_expression_level_is_that_of_the_pairs(build, pack):
    network, cells = build(), pack(CELLS)
    genes = torch.arange(N_SPECIAL, N_SPECIAL + 30)
    pairs = PackedGenes(genes.repeat(4), torch.arange(4).repeat_interleave(30), genes.repeat(4))
    z = network(cells)
    grid = network.every_expression_level(z, genes)
    torch.testing.assert_close(
        grid.flatten(), network.expression_levels(z, pairs), atol=1e-6, rtol=0
    )


def test_ablations_leave_out_their_embedding(build, pack):
    cells = pack(CELLS)
    genes = PackedGenes(torch.tensor([5, 6]), torch.tensor([0, 3]), torch.tensor([1, 0]))
    other = dataclasses.replace(cells, batch_ids=1 - cells.batch_ids)

    def logits(network: EpiFoundation, packed: PackedCells) -> torch.Tensor:
        return network.gene_logits(network(packed), packed, genes)

    full, no_batch = build(), build(use_batch=False)
    assert not torch.allclose(logits(full, cells), logits(full, other))
    assert torch.equal(logits(no_batch, cells), logits(no_batch, other))
    assert not any("batch_embedding" in name for name in no_batch.state_dict())
    no_chromosome = build(use_chromosome=False)
    assert not any("chromosome" in name for name in no_chromosome.state_dict())
    assert logits(no_chromosome, cells).shape == (2, 2)


def test_batch_norm_sees_real_tokens_only(build, pack):
    network, cells = build(), pack(CELLS)
    network.train()
    network.dropout.p = 0.0
    seen = []
    network.peak_batch_norm.register_forward_hook(lambda *args: seen.append(args[1][0]))
    network.peak_batch_norm.momentum = 1.0
    network(cells)
    assert seen[0].shape == (cells.n_tokens, 16)
    torch.testing.assert_close(network.peak_batch_norm.running_mean, seen[0].mean(dim=0))


def test_parameters_at_the_released_sizes():
    with torch.device("meta"):
        network = EpiFoundation(
            ModelConfig(
                n_layers=6,
                n_heads=8,
                d_model=512,
                d_feedforward=1024,
                dropout=0.15,
                max_peaks=12000,
                max_genes=8000,
                embedding_std=1.0,
                initialisation="independent",
                batch_norm="real",
                pooling="cls",
                depth_input="none",
            ),
            Sizes(n_peaks=524_151, n_genes=36_601, n_chromosomes=24, n_batches=45, n_cell_types=60),
            peak_chromosomes=torch.empty(524_155),
            gene_chromosomes=torch.empty(36_605),
            heads=("genes", "cell_types"),
        )

    def count(part: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in part.parameters())

    assert count(network.peak_embedding) == 268_368_384
    assert count(network.gene_embedding) == 18_742_784
    assert count(network.blocks) == 12_616_704
    assert count(network) - 268_368_384 - 18_742_784 - 12_616_704 < 1_000_000


@pytest.mark.parametrize(
    ("offsets", "longest", "what"),
    [([1, 3], 3, "starts at 0"), ([0, 2], 3, "ends at n_tokens"), ([0, 3], 2, "max_seqlen")],
)
def test_packed_cells_are_checked(offsets: list[int], longest: int, what: str):
    offsets_tensor = torch.tensor(offsets, dtype=torch.int32)
    with pytest.raises(AssertionError, match=what):
        PackedCells(torch.tensor([2, 5, 6]), offsets_tensor, longest)


def test_losses_are_sums_with_counts():
    logits, targets = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    loss = cross_entropy(logits, targets)
    assert loss.count == 2
    assert loss.n_correct == 1
    torch.testing.assert_close(loss.total, functional.cross_entropy(logits, targets) * 2)
    error = squared_error(torch.tensor([1.0, 3.0]), torch.tensor([0, 1]))
    assert (float(error.total), error.count, error.n_correct) == (5.0, 2, None)
