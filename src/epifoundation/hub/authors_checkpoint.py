"""The authors' checkpoint, a file of torch.save, read without running code."""

import pickle
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import torch
from torch import Tensor

from epifoundation.errors import ModelError, in_a_line

ZIP_BEGINNING = b"PK\x03\x04"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return what the checkpoint holds, its tensors mapped from the file; refuse a damaged one."""
    if not path.is_file():
        message = f"{path} is no file. Give the authors' checkpoint, a .pth."
        raise ModelError(message)
    _check_whole(path)
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except (pickle.UnpicklingError, KeyError, IndexError, AttributeError, TypeError) as error:
        message = (
            f"{path} is no file of torch.save, or holds more than tensors and plain values, which"
            " could run code and is not read. Save its state dict alone:"
            ' torch.save({"model": state_dict}, …) where you trust it; or download it again.'
        )
        raise ModelError(message) from error
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        message = (
            f"{path} is no checkpoint of the authors' format ({in_a_line(error)}). Download it"
            " again."
        )
        raise ModelError(message) from error
    state = found.get("model") if isinstance(found, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        keys = ", ".join(map(str, found))[:200] if isinstance(found, dict) else type(found).__name__
        message = (
            f"{path} is no checkpoint of the authors' format: no state dict under the key `model`"
            f" (found: {keys})."
        )
        raise ModelError(message)
    return dict(found)


def _check_whole(path: Path) -> None:
    """Refuse an archive that was cut short or changed; torch maps it without a look at sums."""
    with path.open("rb") as handle:
        is_archive = handle.read(4) == ZIP_BEGINNING
    if not is_archive:
        return
    size = f"{path.stat().st_size:,} bytes"
    if not is_zipfile(path):
        message = f"{path} is cut short: after {size} its end is missing. Download it again."
        raise ModelError(message)
    try:
        with ZipFile(path) as archive:
            damaged = archive.testzip()
    except (BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        message = f"{path} ({size}) is damaged ({in_a_line(error)}). Download it again."
        raise ModelError(message) from error
    if damaged is not None:
        message = (
            f"{path} ({size}) is damaged: the checksum of {damaged} is wrong. Download it again."
        )
        raise ModelError(message)
