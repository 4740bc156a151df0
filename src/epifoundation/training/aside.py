"""Checkpoints and metrics of other data or settings, kept apart until a model is saved.

They lie in `aside/<key>/`, the key being that of their data and settings, and come back when those
do. Nothing is deleted: the settings tried last may be the wrong ones.
"""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

logger = logging.getLogger(__name__)

ASIDE = "aside"
METRICS = ("steps.jsonl", "tensorboard")


def set_aside(folder: Path, others: Mapping[Path, str], *, hint: str) -> None:
    """Move checkpoints away, each to the folder of its key, the metrics with the latest of them.

    The metrics stay where checkpoints of `folder` are left.
    """
    if not others:
        return
    for path, key in others.items():
        _move(path, folder / ASIDE / key)
    latest = folder / ASIDE / others[max(others)]
    if not any(folder.glob("step-*")):
        for name in METRICS:
            if (folder / name).exists():
                _move(folder / name, latest)
    logger.warning(
        "checkpoints: %d of other data or settings set aside in %s, until the model is saved; they"
        " are gone on from when those settings are back. %s",
        len(others),
        latest,
        hint,
    )


def bring_back(folder: Path, shelf: Path) -> None:
    """Move what was set aside of one run back to where it trains."""
    for path in sorted(shelf.iterdir()):
        _move(path, folder)
    shelf.rmdir()
    logger.info("%s: back from %s", folder, shelf)


def _move(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    there = folder / path.name
    if there.is_dir():
        shutil.rmtree(there)
    path.replace(there)
