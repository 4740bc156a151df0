"""Training few parameters: what is frozen stays, what was learned is merged."""

import torch

from epifoundation.model import adapters


def gradients(network, cells, genes):
    network.gene_logits(network(cells), cells, genes).square().sum().backward()
    return {name for name, p in network.named_parameters() if p.grad is not None}


def test_frozen_tables_leave_all_else_to_learn(build, pack, genes):
    network = build()
    adapters.apply(network, "frozen_tables", rank=2, seed=0)
    learning = gradients(network, pack(), genes)
    assert not any("table" in name for name in learning)
    assert "peak_embedding.norm.weight" in learning
    assert "blocks.0.attention.qkv.weight" in learning


def test_lora_starts_as_the_same_network_and_learns_few_numbers(build, pack, genes):
    network = build()
    before = network(pack())
    adapters.apply(network, "lora", rank=2, seed=0)
    torch.testing.assert_close(network(pack()), before, atol=0, rtol=0)
    learning = gradients(network, pack(), genes)
    assert "blocks.1.attention.qkv.parametrizations.weight.0.up" in learning
    assert not any("original" in name or "table" in name for name in learning)


def test_merged_lora_is_a_plain_network_that_kept_what_it_learned(build, pack):
    network = build()
    names = list(network.state_dict())
    before = network(pack())
    adapters.apply(network, "lora", rank=2, seed=0)
    for name, parameter in network.named_parameters():
        if name.endswith(".up"):
            torch.nn.init.normal_(parameter, std=0.1)
    learned = network(pack())
    assert not torch.allclose(learned, before, atol=1e-3)
    adapters.merge(network)
    torch.testing.assert_close(network(pack()), learned, atol=1e-6, rtol=0)
    plain = build()
    plain.load_state_dict(network.state_dict())
    torch.testing.assert_close(plain(pack()), learned, atol=1e-6, rtol=0)
    assert sorted(network.state_dict()) == sorted(names)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_lora_is_drawn_from_its_seed(build):
    def drawn(seed: int) -> torch.Tensor:
        network = build()
        adapters.apply(network, "lora", rank=2, seed=seed)
        return network.get_parameter("blocks.0.linear1.parametrizations.weight.0.down")

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
