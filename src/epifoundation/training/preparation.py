"""The network as it is trained on one device, and what is said of it at the start."""

import logging

import torch

from epifoundation.model.attention import described
from epifoundation.model.network import EpiFoundation
from epifoundation.training.distributed import World, shard_tables
from epifoundation.training.run import Run

logger = logging.getLogger(__name__)


def prepared(run: Run, world: World) -> EpiFoundation:
    """Return the network of `run` on the device of this process, split and compiled as asked."""
    network = run.network.to(world.device)
    network.checkpointed = run.execution.gradient_checkpointing
    if run.execution.shard_tables and world.size > 1:
        shard_tables(network, world)
    if run.execution.compile:
        for block in network.blocks:
            block.compile(dynamic=True)
    return network


def parameter_groups(network: EpiFoundation) -> list[dict[str, list[torch.nn.Parameter]]]:
    """Return what is trained, in groups that one fused optimiser takes."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    kinds = dict.fromkeys(type(parameter.data) for parameter in trained)  # whole, split
    return [{"params": [p for p in trained if type(p.data) is kind]} for kind in kinds]


def log_start(run: Run, world: World) -> None:
    """Say what is trained, on what, in which precision."""
    n_parameters = sum(parameter.numel() for parameter in run.network.parameters())
    n_trained = sum(p.numel() for p in run.network.parameters() if p.requires_grad)
    half = run.device.type == "cuda" and run.config.precision == "bf16"
    logger.info(
        "%s: %s parameters, %s of them trained, on %d x %s (%s; %s), %d training and %d validation"
        " cells, %d tokens a minibatch",
        run.objective.__name__,
        f"{n_parameters:,}",
        f"{n_trained:,}",
        world.size,
        run.device,
        "bf16" if half else "fp32",
        described(run.device.type, torch.bfloat16 if half else torch.float32),
        len(run.training.rows),
        len(run.validation.rows),
        run.config.tokens_per_minibatch
        or run.training.token_budget(run.config.cells_per_minibatch),
    )
