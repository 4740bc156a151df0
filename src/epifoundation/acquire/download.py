"""All files of one sample, several at once, each whole and verified."""

import logging
import shutil
import threading
import time
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from epifoundation.acquire.transfer import fetch
from epifoundation.config import AcquireConfig
from epifoundation.errors import AcquireError

logger = logging.getLogger(__name__)


def download(
    manifest: pd.DataFrame,
    directory: Path | str,
    settings: AcquireConfig,
    *,
    wait_seconds: float = 1.0,
) -> None:
    """Fill `directory` with the files of a MANIFEST; it appears when all of them are right.

    Until then they gather in `.incoming-<name>` beside it, so that a call after a failure fetches
    only what is lacking. The first error stops the files not yet begun.
    """
    directory = Path(directory)
    incoming = directory.with_name(f".incoming-{directory.name}")
    if directory.is_dir() and not incoming.exists():
        directory.rename(incoming)
    incoming.mkdir(parents=True, exist_ok=True)
    _check_space(manifest, incoming)
    progress = _Progress(directory.name, manifest, incoming)
    failed = threading.Event()

    def one(row: Mapping[Hashable, object]) -> None:
        if failed.is_set():
            return
        name = str(row["file"])
        try:
            fetch(
                str(row["url"]),
                incoming / name,
                md5=str(row["md5"]),
                bytes=int(str(row["bytes"])),
                retries=settings.retries,
                wait_seconds=wait_seconds,
                counter=lambda n: progress.add(name, n),
            )
        except BaseException:
            failed.set()
            raise
        progress.finish(name)

    with ThreadPoolExecutor(max_workers=settings.parallel_downloads) as pool:
        for future in [pool.submit(one, row) for row in manifest.to_dict("records")]:
            future.result()
    for path in set(incoming.iterdir()) - {incoming / name for name in manifest["file"]}:
        path.unlink()  # of an earlier manifest
    if directory.exists():
        shutil.rmtree(directory)
    incoming.rename(directory)


def _check_space(manifest: pd.DataFrame, incoming: Path) -> None:
    here = sum(path.stat().st_size for path in incoming.iterdir())
    needed = int(manifest["bytes"].sum()) - here
    free = shutil.disk_usage(incoming).free
    if needed > free:
        message = (
            f"{incoming.parent}: {needed / 1e9:,.1f} GB are still to be fetched and only"
            f" {free / 1e9:,.1f} GB are free. Make room, or set results_dir to a larger disk."
        )
        raise AcquireError(message)


def _at_hand(path: Path) -> int:
    partial = path.with_name(path.name + ".part")
    return sum(p.stat().st_size for p in (path, partial) if p.exists())


class _Progress:
    """Bytes at hand of each file and of all; says so every few seconds, from any thread."""

    def __init__(
        self, what: str, manifest: pd.DataFrame, incoming: Path, every_seconds: float = 10.0
    ) -> None:
        self.what = what
        self.sizes = dict(zip(manifest["file"], manifest["bytes"].astype(int), strict=True))
        self.done = {name: _at_hand(incoming / name) for name in self.sizes}
        self.every_seconds = every_seconds
        self.lock = threading.Lock()
        self.start = self.reported = time.monotonic()
        self.received = 0

    def add(self, name: str, n_bytes: int) -> None:
        with self.lock:
            self.done[name] += n_bytes
            self.received += max(n_bytes, 0)
            now = time.monotonic()
            if now - self.reported >= self.every_seconds:
                self.reported = now
                logger.info("%s", self.line(now - self.start))

    def finish(self, name: str) -> None:
        with self.lock:
            n_done = sum(self.done[n] >= size for n, size in self.sizes.items())
            logger.info(
                "%s: %s is complete (%.1f MB), %d of %d files; %s",
                self.what,
                name,
                self.sizes[name] / 1e6,
                n_done,
                len(self.sizes),
                self.line(time.monotonic() - self.start),
            )

    def line(self, seconds: float) -> str:
        """Return e.g. 'pbmc: 12.0 of 40.0 MB, 2.0 MB/s, 14 s left; gex_L001_R1.fastq.gz 60%'."""
        total, at_hand = sum(self.sizes.values()), sum(self.done.values())
        rate = self.received / max(seconds, 1e-9)
        line = f"{self.what}: {at_hand / 1e6:,.1f} of {total / 1e6:,.1f} MB, {rate / 1e6:,.1f} MB/s"
        if rate > 0:
            left = max(total - at_hand, 0) / rate
            ends = time.strftime("%H:%M:%S", time.localtime(time.time() + left))
            line += f", {left:,.0f} s left (ends {ends})"
        under_way = [
            f"{name} {self.done[name] / size:.0%}"
            for name, size in self.sizes.items()
            if 0 < self.done[name] < size
        ]
        return "; ".join([line, *under_way])
