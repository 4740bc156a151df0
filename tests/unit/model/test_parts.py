"""Replaceable parts: each does what it says, and the paper's leave the network as it was."""

import dataclasses

import pytest
import torch

from epifoundation.hub import Design, FoundationModel, from_pretrained
from epifoundation.model.packing import PackedCells
from epifoundation.model.parts import cell_of_token


def test_defaults_add_no_parameter_and_draw_nothing(build):
    names = {name.split(".")[0] for name in build().state_dict()}
    assert not names & {"pooling", "depth_input"}
    torch.manual_seed(1)
    build()
    drawn = torch.rand(1)
    build(depth_input="log_counts", pooling="mean", initialisation="identical_blocks")
    assert torch.equal(torch.rand(1), drawn), "parts draw from no generator"


def test_cell_of_each_token(pack):
    cells = pack(((5, 6), (), (7,)))
    assert cell_of_token(cells).tolist() == [0, 0, 0, 1, 2, 2]


def test_mean_pooling_is_the_mean_of_each_cells_normed_tokens(build, pack):
    network, cells = build(pooling="mean"), pack()
    rows = {}
    network.norm.register_forward_hook(lambda *args: rows.update(x=args[2]))
    z = network(cells)
    for i in range(cells.n_cells):
        own = rows["x"][cells.cu_seqlens[i] : cells.cu_seqlens[i + 1]]
        torch.testing.assert_close(z[i], own.mean(dim=0), atol=1e-6, rtol=0)


def test_mean_pooled_cells_do_not_see_each_other(build, pack):
    network = build(pooling="mean")
    alone = torch.cat([network(pack((cell,))) for cell in ((5, 9), (7, 8, 20))])
    torch.testing.assert_close(network(pack(((5, 9), (7, 8, 20)))), alone, atol=1e-6, rtol=0)


def test_depth_starts_silent_and_moves_the_cls_row_only(build, pack):
    network, plain, cells = build(depth_input="log_counts"), build(), pack()
    assert torch.equal(network(cells), plain(cells))
    with torch.no_grad():
        network.depth_input.direction.fill_(1)
    x = torch.zeros(cells.n_tokens, 16)
    told = network.depth_input(x, cells)
    first = cells.cu_seqlens[:-1].tolist()
    moved = told.abs().sum(dim=1).nonzero().flatten().tolist()
    assert moved == first
    n_peaks = torch.tensor([4.0, 1.0, 7.0, 3.0])
    torch.testing.assert_close(told[first, 0], torch.log1p(n_peaks) - network.depth_input.USUAL)


def test_depth_is_of_all_accessible_peaks_not_of_those_read(build, pack):
    network = build(depth_input="log_counts")
    with torch.no_grad():
        network.depth_input.direction.normal_()
    cells = pack()
    deeper = dataclasses.replace(cells, n_peaks=torch.tensor([900, 1, 7, 3]))
    z, z_deeper = network(cells), network(deeper)
    assert not torch.allclose(z[0], z_deeper[0], atol=1e-3)
    torch.testing.assert_close(z[1:], z_deeper[1:], atol=1e-6, rtol=0)


def test_direction_of_depth_is_learned(build, pack):
    network = build(depth_input="log_counts")
    (network(pack()) * torch.arange(16)).sum().backward()
    assert network.depth_input.direction.grad.abs().sum() > 0


@pytest.mark.parametrize(("name", "same"), [("independent", False), ("identical_blocks", True)])
def test_blocks_start_apart_or_alike(build, name: str, same: bool):
    first, second = build(initialisation=name).blocks
    assert torch.equal(first.attention.qkv.weight, second.attention.qkv.weight) == same
    assert first.attention.qkv.weight is not second.attention.qkv.weight


def test_number_of_peaks_goes_with_the_cells_to_a_device(pack):
    cells = dataclasses.replace(pack(), n_peaks=torch.tensor([9, 9, 9, 9]))
    moved: PackedCells = cells.to(torch.device("meta"))
    assert moved.n_peaks.device.type == "meta"
    with pytest.raises(AssertionError, match="one number of peaks"):
        dataclasses.replace(cells, n_peaks=torch.tensor([9]))


def test_other_parts_are_saved_with_the_model(tiny_atlas, tiny_model, tmp_path):
    parts = {"pooling": "mean", "depth_input": "log_counts", "batch_norm": "padded"}
    design = Design(tiny_model.model_copy(update=parts), ("genes",))
    model = FoundationModel.build(design, tiny_atlas.vocabulary, seed=0)
    with torch.no_grad():
        model.network.depth_input.direction.fill_(0.5)
    model.save(tmp_path / "model")
    loaded = from_pretrained(tmp_path / "model")
    assert loaded.design == design
    assert torch.equal(loaded.network.depth_input.direction, torch.full((16,), 0.5))
