"""Several devices train one network: cells are dealt out, gradients are added up.

Every minibatch is one of the whole world: each device takes every n-th of its cells, which are
alike in length, and BatchNorm counts them all (`model/batch_norm.py`). So the number of devices
changes neither what is learned nor where a checkpoint stands.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from epifoundation.config import ExecutionConfig
from epifoundation.errors import ModelError
from epifoundation.model.network import EpiFoundation, NormedEmbedding
from epifoundation.training.dataset import Rows

logger = logging.getLogger(__name__)

Value = TypeVar("Value")


@dataclass(frozen=True)
class World:
    """This process among those that train together, and its device."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def part_of(self, rows: Rows) -> tuple[Rows, float]:
        """Return this device's cells of a minibatch, and the weight of each in the loss.

        Where there are fewer cells than devices, each device computes all of them.
        """
        if len(rows) < self.size:
            return rows, 1 / self.size
        return rows[self.rank :: self.size], 1.0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the values summed over all processes; every process must call it."""
        if self.size == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(summed)
        total: list[float] = summed.tolist()
        return total

    def share(self, value: Value) -> list[Value]:
        """Return the value of each process, the first one's first; every process must call it."""
        if self.size == 1:
            return [value]
        values = [value] * self.size
        distributed.all_gather_object(values, value)
        return values

    def align(self, buffers: Iterable[Tensor]) -> None:
        """Give every process the first one's running statistics."""
        for buffer in buffers if self.size > 1 else ():
            if buffer.is_floating_point():
                distributed.broadcast(buffer, 0)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of parameters that every process holds whole."""
        if self.size == 1:
            return
        pending = []
        for parameter in parameters:
            if isinstance(parameter, DTensor) or not parameter.requires_grad:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            pending.append(distributed.all_reduce(parameter.grad, async_op=True))
        for work in pending:
            work.wait()


def devices_of(execution: ExecutionConfig, n_devices: int) -> list[torch.device]:
    """Return the devices to train on, or say what is missing."""
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if execution.device == "cpu" or (execution.device == "auto" and n_gpus == 0):
        if n_devices > 1:
            logger.warning(
                "training.n_devices is %d and no GPU is used: as many processes share the CPU and"
                " its threads",
                n_devices,
            )
        return [torch.device("cpu")] * n_devices
    if n_gpus == 0:
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        message = (
            "no GPU can be used"
            + (f" (CUDA_VISIBLE_DEVICES={given!r})" if given is not None else "")
            + f"; torch {torch.__version__} is built for"
            + f" {'CUDA ' + str(torch.version.cuda) if torch.version.cuda else 'the CPU alone'}."
            " Ask the cluster for a GPU, install torch with CUDA, or set training.device: cpu for"
            " small data."
        )
        raise ModelError(message)
    if n_devices > n_gpus:
        message = (
            f"training.n_devices is {n_devices}, but GPUs here: {n_gpus}. Ask for as many, or lower"
            " n_devices: the result is the same."
        )
        raise ModelError(message)
    return [torch.device("cuda", index) for index in range(n_devices)]


def join(address: str, rank: int, size: int, device: torch.device) -> World:
    """Meet the other processes at `address`."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    if not distributed.is_initialized():
        distributed.init_process_group(backend, init_method=address, rank=rank, world_size=size)
    return World(rank, size, device)


def shard_tables(network: EpiFoundation, world: World) -> None:
    """Split the tables of peaks and genes over the devices, rows and their moments alike."""
    mesh = init_device_mesh(world.device.type, (world.size,))
    for name in ("peak_embedding", "gene_embedding"):
        table = getattr(network, name, None)
        if isinstance(table, NormedEmbedding):
            fully_shard(table, mesh=mesh)
            assert isinstance(table, FSDPModule)
            # Plain sums: losses are divided by the count of the whole world already.
            table.set_force_sum_reduction_for_comms(enable=True)
            table.set_gradient_divide_factor(1.0)


def gathered(tensors: Iterable[tuple[str, Tensor]], world: World) -> dict[str, Tensor]:
    """Return copies on the CPU, put together where split, to the first process.

    Every process must call it; the others get none, so that a machine holds them once.
    """
    found = {}
    for name, tensor in tensors:
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if world.is_first:
            found[name] = whole.detach().to("cpu", copy=True).contiguous()
    return found


def split_like(value: Tensor, parameter: Tensor) -> Tensor:
    """Return `value` on the device of `parameter`, and split as it is."""
    value = value.to(parameter.device)
    if isinstance(parameter, DTensor) and value.shape == parameter.shape:
        return distribute_tensor(value, parameter.device_mesh, parameter.placements)
    return value


def clip_gradients(parameters: Sequence[nn.Parameter], largest: float) -> Tensor:
    """Scale gradients down to a norm of `largest` in all, and return the norm they had."""
    has_gradient = [parameter for parameter in parameters if parameter.grad is not None]
    split = [parameter for parameter in has_gradient if isinstance(parameter, DTensor)]
    if not split:
        norm: Tensor = nn.utils.clip_grad_norm_(has_gradient, largest)
        return norm
    own = [parameter for parameter in has_gradient if not isinstance(parameter, DTensor)]
    norms = [nn.utils.get_total_norm([p.grad for p in own if p.grad is not None])]
    norms += [_split_norm(parameter) for parameter in split]
    norm = torch.linalg.vector_norm(torch.stack(norms))
    for group in (own, split):
        nn.utils.clip_grads_with_norm_(group, largest, norm)
    return norm


def _split_norm(parameter: nn.Parameter) -> Tensor:
    assert isinstance(parameter.grad, DTensor)
    norm = torch.linalg.vector_norm(parameter.grad)
    assert isinstance(norm, DTensor)
    whole: Tensor = norm.full_tensor()
    return whole
