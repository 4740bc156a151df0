"""What a server is asked at most, by all jobs of this machine together."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from epifoundation.acquire.hosts import LIMITS, OTHER_LIMITS

OWN = frozenset({"127.0.0.1", "localhost", "::1"})  # this machine's own servers
LOOK_SECONDS = 0.2


def wait_for_turn(url: str) -> None:
    """Wait until the host of `url` may be asked again: so many requests a second, no more."""
    host = urlsplit(url).hostname
    if not host or host in OWN:
        return
    rate, _ = LIMITS.get(host, OTHER_LIMITS)
    with _locked(_folder() / f"{host}.turn") as handle:
        before = handle.read()
        last = float(before) if before else 0.0
        wait = min(last + 1 / rate - time.time(), 1 / rate)
        if wait > 0:
            time.sleep(wait)
        handle.seek(0)
        handle.truncate()
        handle.write(repr(time.time()))
        handle.flush()


@contextmanager
def transfer_from(url: str) -> Iterator[None]:
    """Hold one of the transfers that the host of `url` grants at once; wait while all are held.

    The locks are those of the system, so that a killed job holds none.
    """
    host = urlsplit(url).hostname
    if not host or host in OWN:
        yield
        return
    _, places = LIMITS.get(host, OTHER_LIMITS)
    while True:
        for place in range(places):
            handle = (_folder() / f"{host}.{place}").open("a")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
                continue
            with handle:
                yield
            return
        time.sleep(LOOK_SECONDS)


@contextmanager
def _locked(path: Path) -> Iterator[TextIO]:
    with path.open("a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        yield handle


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"epifoundation-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
