"""Where a model is read, and in which precision."""

import torch

from epifoundation.errors import ModelError


def choose_device(name: str | None = None) -> torch.device:
    """Return the named device; null: the GPU where there is one, else the CPU."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        message = f"{name!r} is no device; say cpu or cuda."
        raise ModelError(message) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        message = (
            f"no GPU that PyTorch {torch.__version__} can use is here. Leave the device out to use"
            " the CPU, or install PyTorch for CUDA."
        )
        raise ModelError(message)
    return device


def inference_precision(device: torch.device) -> torch.autocast:
    """Return the precision: bfloat16 on a GPU, whose attention needs it, else float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")
