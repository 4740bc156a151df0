"""Weights into a network, or what about them does not fit."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def put_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Make `weights` the network's own parameters and buffers, without copying them.

    The network may lie on the meta device, so that nothing is initialised in vain.
    """
    network.load_state_dict(dict(weights), assign=True)


def misfits(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    named: Callable[[str], str] = str,
    explained: Callable[[str], str] = lambda _: "",
) -> list[str]:
    """Return what is missing, of another shape, superfluous or no number: a clause each.

    `named` gives the name a tensor has in its file, `explained` a remark on one of another shape.
    """
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in weights]
    extra = [name for name in weights if name not in wanted]
    both = [name for name in wanted if name in weights]
    reshaped = [name for name in both if weights[name].shape != wanted[name].shape]
    broken = [name for name in both if not torch.isfinite(weights[name]).all()]
    clauses = []
    if missing:
        clauses.append(f"{_count(missing)} missing (first: {named(missing[0])})")
    if reshaped:
        shapes = (
            f"{named(name)} is {_shape(weights[name])}, expected"
            f" {_shape(wanted[name])}{explained(name)}"
            for name in reshaped[:3]
        )
        rest = f" and {len(reshaped) - 3} more of another shape" if len(reshaped) > 3 else ""
        clauses.append("; ".join(shapes) + rest)
    if extra:
        clauses.append(f"{_count(extra)} unknown to this network (first: {named(extra[0])})")
    if broken:
        clauses.append(f"{_count(broken)} not finite (first: {named(broken[0])})")
    return clauses


def _count(names: list[str]) -> str:
    return "1 tensor is" if len(names) == 1 else f"{len(names)} tensors are"


def _shape(tensor: Tensor) -> str:
    return " × ".join(map(str, tensor.shape)) or "a single number"
