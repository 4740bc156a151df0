"""Every kernel this machine has gives what a plain loop over cells, heads and tokens gives."""

import pytest
import torch

from epifoundation.model.attention import Kernel, Segments, described, kernels, packed_attention

LENGTHS = (3, 1, 6)
DTYPES = {"cpu": torch.float32, "cuda": torch.bfloat16}
HERE = [
    pytest.param(device, name, id=f"{device}-{name}")
    for device in (["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
    for name in kernels(device, DTYPES[device])
]


def plain(query, key, value, query_lengths, key_lengths):
    """Attention within cells, one query row at a time."""
    rows, q_start, k_start = [], 0, 0
    for q_length, k_length in zip(query_lengths, key_lengths, strict=True):
        own = slice(k_start, k_start + k_length)
        for i in range(q_start, q_start + q_length):
            heads = [
                torch.softmax(key[own, h] @ query[i, h] / query.shape[2] ** 0.5, 0) @ value[own, h]
                for h in range(query.shape[1])
            ]
            rows.append(torch.stack(heads))
        q_start, k_start = q_start + q_length, k_start + k_length
    return torch.stack(rows)


def segments(lengths: tuple[int, ...], device: str) -> Segments:
    offsets = torch.tensor([0, *lengths], device=device).cumsum(0).int()
    return Segments(offsets, max(lengths))


@pytest.mark.parametrize("query_lengths", [LENGTHS, (1, 1, 1)], ids=["every row", "[CLS] rows"])
@pytest.mark.parametrize(("device", "name"), HERE)
def test_kernel_agrees_with_a_plain_loop(device: str, name: str, query_lengths: tuple[int, ...]):
    dtype = DTYPES[device]
    kernel: Kernel = kernels(device, dtype)[name]
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(sum(lengths), 2, 32, generator=generator).requires_grad_()
        for lengths in (query_lengths, LENGTHS, LENGTHS)
    ]
    weights = torch.randn(sum(query_lengths), 2, 32, generator=generator)
    expected = plain(*inputs, query_lengths, LENGTHS)
    expected_gradients = torch.autograd.grad((expected * weights).sum(), inputs)

    moved = [x.detach().to(device, dtype) for x in inputs]
    moved = [x.requires_grad_() for x in moved]
    found = kernel(*moved, segments(query_lengths, device), segments(LENGTHS, device), 0.0)
    gradients = torch.autograd.grad((found.float() * weights.to(device)).sum(), moved)
    tolerance = {"atol": 2e-2, "rtol": 2e-2} if device == "cuda" else {"atol": 1e-6, "rtol": 1e-6}
    torch.testing.assert_close(found.float().cpu(), expected, **tolerance)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient.float().cpu(), wanted, **tolerance)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_kernels_agree_on_cells_of_usual_length():
    lengths = (1_500, 4_500, 7_000)
    generator = torch.Generator("cuda").manual_seed(0)
    qkv = torch.randn(3, sum(lengths), 8, 64, device="cuda", generator=generator).bfloat16()
    cells = segments(lengths, "cuda")
    found = {
        name: kernel(*qkv, cells, cells, 0.0)
        for name, kernel in kernels("cuda", torch.bfloat16).items()
    }
    first = next(iter(found.values()))
    for name, attended in found.items():
        torch.testing.assert_close(attended, first, atol=2e-2, rtol=2e-2, msg=name)


def test_one_kernel_is_chosen_by_device_and_the_cpu_has_no_dropout():
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, sum(LENGTHS), 2, 8, generator=generator)
    cells = segments(LENGTHS, "cpu")
    found = packed_attention(q, k, v, cells, cells, dropout=0.5)
    assert torch.equal(found, packed_attention(q, k, v, cells, cells))
    assert described("cpu", torch.float32) == "sdpa, without attention dropout"


def test_full_precision_runs_on_any_device_by_torchs_kernel_for_one_sequence():
    assert list(kernels("cuda", torch.float32)) == ["sdpa"]
    assert "varlen" in kernels("cuda", torch.bfloat16)
