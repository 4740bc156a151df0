"""The one place that knows which attention kernel runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Segments:
    """Where the cells of a packed tensor begin and end: (n_cells + 1,) int32, and the longest."""

    offsets: Tensor
    longest: int

    @property
    def lengths(self) -> list[int]:
        """Rows of each cell."""
        lengths: list[int] = self.offsets.diff().tolist()
        return lengths


# query, key, value, segments of queries, segments of keys and values, dropout
Kernel = Callable[[Tensor, Tensor, Tensor, Segments, Segments, float], Tensor]


# Kernels run as they are, within blocks that may be compiled.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def packed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_segments: Segments,
    key_segments: Segments,
    *,
    dropout: float = 0.0,
) -> Tensor:
    """Return attention within each cell, (n_queries, n_heads, head_dim).

    `query` is (n_queries, n_heads, head_dim), `key` and `value` (n_tokens, n_heads, head_dim); the
    scale is 1/√head_dim. Dropout of attention weights exists in flash-attn only; the other
    kernels have none, and a model trains without it there.
    """
    kernel = next(iter(kernels(query.device.type, query.dtype).values()))
    return kernel(query, key, value, query_segments, key_segments, dropout)


@cache
def kernels(device_type: str, dtype: torch.dtype) -> Mapping[str, Kernel]:
    """Return the kernels this machine has for such tensors, the one that is used first."""
    found: dict[str, Kernel] = {}
    if device_type == "cuda" and dtype in (torch.bfloat16, torch.float16):
        if _flash_attn() is not None:
            found["flash-attn"] = flash_attn
        found["varlen"] = torch_varlen
    return {**found, "sdpa": sdpa_by_cell}


def described(device_type: str, dtype: torch.dtype) -> str:
    """Return the kernel that such tensors get, and whether it drops attention weights."""
    name = next(iter(kernels(device_type, dtype)))
    return f"{name}, {'with' if name == 'flash-attn' else 'without'} attention dropout"


def flash_attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_segments: Segments,
    key_segments: Segments,
    dropout: float,
) -> Tensor:
    """Run the kernel of the package flash-attn."""
    function = _flash_attn()
    assert function is not None
    return function(
        query,
        key,
        value,
        query_segments.offsets,
        key_segments.offsets,
        query_segments.longest,
        key_segments.longest,
        dropout_p=dropout,
    )


@cache
def _flash_attn() -> Callable[..., Tensor] | None:
    try:
        from flash_attn import flash_attn_varlen_func
    except ImportError:
        return None
    function: Callable[..., Tensor] = flash_attn_varlen_func
    return function


def torch_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_segments: Segments,
    key_segments: Segments,
    dropout: float,  # noqa: ARG001
) -> Tensor:
    """Run torch's own kernel for packed cells, which knows no dropout."""
    from torch.nn.attention.varlen import varlen_attn

    attended = varlen_attn(
        query,
        key,
        value,
        query_segments.offsets,
        key_segments.offsets,
        query_segments.longest,
        key_segments.longest,
    )
    assert isinstance(attended, Tensor)  # a tuple only where auxiliary outputs are asked for
    return attended


def sdpa_by_cell(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_segments: Segments,
    key_segments: Segments,
    dropout: float,  # noqa: ARG001
) -> Tensor:
    """Run torch's kernel for one sequence on each cell.

    Its CPU version has dropout only where it lays out the whole matrix of weights, 4.6 GB for
    12,000 peaks and 8 heads.
    """
    # `split` and `cat`, not slices: the gradient of a slice is a zero tensor of the whole pack.
    queries = torch.split(query, query_segments.lengths)
    keys = torch.split(key, key_segments.lengths)
    values = torch.split(value, key_segments.lengths)
    attended = [
        functional.scaled_dot_product_attention(_by_head(q), _by_head(k), _by_head(v))
        for q, k, v in zip(queries, keys, values, strict=True)
    ]  # each (1, n_heads, length, head_dim)
    return torch.cat([cell[0].transpose(0, 1) for cell in attended])  # as `query`


def _by_head(x: Tensor) -> Tensor:
    return x.transpose(0, 1)[None]
