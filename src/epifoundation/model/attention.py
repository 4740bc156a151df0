"""The one place that knows which attention kernel runs."""

from collections.abc import Callable
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
    if query.device.type == "cpu":
        return _by_cell(query, key, value, query_segments, key_segments)
    flash = _flash_attn()
    if flash is not None:
        return flash(
            query,
            key,
            value,
            query_segments.offsets,
            key_segments.offsets,
            query_segments.longest,
            key_segments.longest,
            dropout_p=dropout,
        )
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


@cache
def _flash_attn() -> Callable[..., Tensor] | None:
    try:
        from flash_attn import flash_attn_varlen_func
    except ImportError:
        return None
    function: Callable[..., Tensor] = flash_attn_varlen_func
    return function


def _by_cell(
    query: Tensor, key: Tensor, value: Tensor, query_segments: Segments, key_segments: Segments
) -> Tensor:
    # `split` and `cat`, not slices: the gradient of a slice is a zero tensor of the whole pack.
    queries = torch.split(query.transpose(0, 1), query_segments.lengths, dim=1)
    keys = torch.split(key.transpose(0, 1), key_segments.lengths, dim=1)
    values = torch.split(value.transpose(0, 1), key_segments.lengths, dim=1)
    attended = [
        functional.scaled_dot_product_attention(q[None], k[None], v[None])[0]
        for q, k, v in zip(queries, keys, values, strict=True)
    ]  # of (n_heads, length, head_dim)
    return torch.cat(attended, dim=1).transpose(0, 1)  # (n_queries, n_heads, head_dim)
