"""Where a model is read, and in which precision."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from epifoundation.errors import ModelError
from epifoundation.hub import FoundationModel
from epifoundation.training.refusals import lacks_memory


def choose_device(name: str | None = None) -> torch.device:
    """Return the named device; null: the GPU where there is one, else the CPU."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        message = f"{name!r} is no device a model can be read on; say cpu or cuda."
        raise ModelError(message)
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        message = (
            f"no GPU that PyTorch {torch.__version__} can use is here. Leave the device out to use"
            " the CPU, or install PyTorch for CUDA."
        )
        raise ModelError(message)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        n_here = torch.cuda.device_count()
        there = "is 1 GPU" if n_here == 1 else f"are {n_here} GPUs"
        message = f"{name}: there {there} here, of which the first is cuda:0"
        raise ModelError(message)
    return device


def inference_precision(device: torch.device) -> torch.autocast:
    """Return the precision: bfloat16 on a GPU, whose attention needs it, else float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def on_device(model: FoundationModel, device: str) -> FoundationModel:
    """Move a model to where `training.device` says: auto takes the GPU where there is one."""
    model.network.to(choose_device(None if device == "auto" else device))
    return model


@contextmanager
def memory_named(device: torch.device, advice: str) -> Iterator[None]:
    """Say what helps where the memory of a device does not suffice."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        message = f"the memory of {device} does not suffice. {advice}"
        raise ModelError(message) from error
