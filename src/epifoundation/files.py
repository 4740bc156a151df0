"""Outputs appear whole or not at all; long work says how far it is."""

import errno
import hashlib
import logging
import os
import re
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from epifoundation.errors import DiskFullError

Item = TypeVar("Item")
FULL_BYTES = 2**20  # a write that fails with less than this left failed for want of space


@contextmanager
def whole(path: Path | str) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it becomes `path` only if the block succeeds.

    Works for a file and for a folder (the block creates either). The name keeps the suffixes of
    `path`, since some writers choose their format by suffix. What a failed block wrote is removed,
    and so is what a killed process of this machine left. Raises DiskFullError where a block fails
    on a full disk, however the library at work tells of it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    partial = target.with_name(f".partial-{_host()}-{os.getpid()}-{target.name}")
    _remove(partial)
    try:
        yield partial
        if target.is_dir() and not target.is_symlink():
            if not partial.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder", str(target))
            _remove(target)
        partial.replace(target)
    except Exception as error:
        if shutil.disk_usage(target.parent).free < FULL_BYTES:
            message = (
                f"{target}: the disk is full. Free space and start again; nothing is half-written."
            )
            raise DiskFullError(message) from error
        raise
    finally:
        _remove(partial)


def _sweep(target: Path) -> None:
    """Remove partial files of `target` whose process is gone; another machine's may be alive."""
    name = re.compile(rf"\.partial-{re.escape(_host())}-(\d+)-{re.escape(target.name)}")
    for path in target.parent.iterdir():
        if (found := name.fullmatch(path.name)) and not _is_running(int(found.group(1))):
            _remove(path)


def _host() -> str:
    return socket.gethostname().replace("/", "_")


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, so it is there
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def file_hash(path: Path | str, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file's bytes."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def with_progress(
    items: Iterable[Item],
    what: str,
    *,
    total: int | None = None,
    logger: logging.Logger,
    every_seconds: float = 10.0,
) -> Iterator[Item]:
    """Yield `items`, logging count, rate and (with `total`) the time left every few seconds."""
    start = reported = time.monotonic()
    count = 0
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - reported >= every_seconds:
            reported = now
            logger.info("%s", progress_line(what, count, total, now - start))
    logger.info("%s: %s in %.1f s", what, f"{count:,}", time.monotonic() - start)


def progress_line(what: str, count: int, total: int | None, seconds: float) -> str:
    """Return e.g. 'reads: 1,200 of 5,000, 300/s, 13 s left (ends 14:05:10)'."""
    rate = count / max(seconds, 1e-9)
    line = f"{what}: {count:,}" + (f" of {total:,}" if total else "") + f", {rate:,.1f}/s"
    if total and rate > 0:
        left = (total - count) / rate
        ends = time.strftime("%H:%M:%S", time.localtime(time.time() + left))
        line += f", {left:,.0f} s left (ends {ends})"
    return line
