"""Gradient checkpointing changes memory, not numbers."""

import torch


def test_checkpointed_blocks_give_the_same_gradients_dropout_included(build, pack, genes):
    def gradients(*, checkpointed: bool) -> dict[str, torch.Tensor]:
        network = build().train()
        network.checkpointed = checkpointed
        cells = pack()
        torch.manual_seed(5)
        network.gene_logits(network(cells), cells, genes).square().sum().backward()
        return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}

    plain, recomputed = gradients(checkpointed=False), gradients(checkpointed=True)
    assert plain.keys() == recomputed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, atol=0, rtol=0, msg=name)


def test_checkpointed_blocks_keep_less(build, pack):
    def kept(*, checkpointed: bool) -> int:
        network = build().train()
        network.checkpointed = checkpointed
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda saved: sizes.append(saved.numel()) or saved, lambda saved: saved
        ):
            network(pack())
        return sum(sizes)

    assert kept(checkpointed=True) < 0.5 * kept(checkpointed=False)
