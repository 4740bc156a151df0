"""Statistics of all tokens: real, padded, and of several processes, against PyTorch's own layer."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from epifoundation.model.batch_norm import EPSILON, Padding, TokenBatchNorm

D_MODEL = 6
LENGTHS = (9, 4)  # tokens in each of two processes
PADS = (3, 0)


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens, a padded position, and by which weights the outputs enter two losses."""
    generator = torch.Generator().manual_seed(0)
    x = 0.5 + 2 * torch.randn(sum(LENGTHS), D_MODEL, generator=generator)
    pad = torch.randn(D_MODEL, generator=generator)
    return x, pad, *torch.randn(2, sum(LENGTHS), D_MODEL, generator=generator)


def norm() -> TokenBatchNorm:
    made = TokenBatchNorm(D_MODEL)
    with torch.no_grad():
        made.weight.copy_(torch.linspace(0.5, 2, D_MODEL))
        made.bias.copy_(torch.linspace(-1, 1, D_MODEL))
    return made


def of_plain_layer(n_pads: int) -> dict[str, Tensor]:
    """What nn.BatchNorm1d gives on all tokens, padded positions laid out after them."""
    x, pad, a, b = (tensor.clone() for tensor in inputs())
    x.requires_grad_()
    pad.requires_grad_()
    layer = nn.BatchNorm1d(D_MODEL, eps=EPSILON)
    layer.load_state_dict(norm().state_dict())
    y = layer(torch.cat([x, pad.expand(n_pads, -1)]))[: len(x)]
    ((y * a).sum() + (y.square() * b).sum()).backward()
    return told(layer, y, x, pad)


def told(layer: nn.BatchNorm1d, y: Tensor, x: Tensor, pad: Tensor) -> dict[str, Tensor]:
    return {
        "y": y.detach(),
        "x": x.grad,
        "pad": torch.zeros(D_MODEL) if pad.grad is None else pad.grad,
        "weight": layer.weight.grad,
        "bias": layer.bias.grad,
        "running_mean": layer.running_mean,
        "running_var": layer.running_var,
        "steps": layer.num_batches_tracked,
    }


def of_part(part: slice, n_pads: int) -> dict[str, Tensor]:
    """What one process has of it."""
    x, pad, a, b = inputs()
    x, pad = x[part].clone().requires_grad_(), pad.requires_grad_()
    layer = norm()
    y = layer(x, Padding(pad, pad.square(), n_pads) if n_pads >= 0 else None)
    ((y * a[part]).sum() + (y.square() * b[part]).sum()).backward()
    return told(layer, y, x, pad)


def test_padded_positions_are_counted_without_being_there():
    expected = of_plain_layer(sum(PADS))
    for name, found in of_part(slice(None), sum(PADS)).items():
        torch.testing.assert_close(found, expected[name], atol=1e-5, rtol=1e-5, msg=name)


def test_dropout_of_padded_positions_is_averaged_over():
    """Against the mean over many draws of dropout at padded positions that are laid out."""
    x, pad, _, _ = inputs()
    n_pads, share = 200_000, 0.3
    torch.manual_seed(0)
    layer = nn.BatchNorm1d(D_MODEL, eps=EPSILON, momentum=1.0)
    layer(torch.cat([x, nn.functional.dropout(pad.expand(n_pads, -1), share)]))
    own = TokenBatchNorm(D_MODEL)
    own.momentum = 1.0
    own(x, Padding(pad, pad.square() / (1 - share), n_pads))
    torch.testing.assert_close(own.running_mean, layer.running_mean, atol=0.01, rtol=0)
    torch.testing.assert_close(own.running_var, layer.running_var, atol=0.01, rtol=0.01)


def test_one_process_without_padding_is_the_plain_layer_bit_for_bit():
    expected, found = of_plain_layer(0), of_part(slice(None), -1)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def _in_process(rank: int, folder: str, task: Callable[[int], dict[str, Tensor]]) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=len(LENGTHS)
    )
    torch.set_num_threads(1)
    torch.save(task(rank), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def _parts(rank: int) -> dict[str, Tensor]:
    start = sum(LENGTHS[:rank])
    own = slice(start, start + LENGTHS[rank])
    padded, real = of_part(own, PADS[rank]), of_part(own, -1)
    return {
        f"{kind} {name}": t
        for kind, d in (("padded", padded), ("real", real))
        for name, t in d.items()
    }


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(_in_process, (str(folder), _parts), nprocs=len(LENGTHS))
    return [torch.load(Path(folder, f"{rank}.pt")) for rank in range(len(LENGTHS))]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n_pads"), [("real", 0), ("padded", sum(PADS))])
def test_two_processes_normalise_as_one(two_processes, kind: str, n_pads: int):
    expected = of_plain_layer(n_pads)
    first, second = (
        {k.split()[1]: t for k, t in part.items() if k.startswith(kind)} for part in two_processes
    )
    for name in ("y", "x"):
        found = torch.cat([first[name], second[name]])
        torch.testing.assert_close(found, expected[name], atol=1e-5, rtol=1e-5, msg=name)
    for name in ("weight", "bias", "pad"):  # data parallel training sums these over processes
        torch.testing.assert_close(
            first[name] + second[name], expected[name], atol=1e-5, rtol=1e-5, msg=name
        )
    for name in ("running_mean", "running_var", "steps"):
        torch.testing.assert_close(first[name], expected[name], atol=1e-6, rtol=1e-6, msg=name)
        assert torch.equal(first[name], second[name])
