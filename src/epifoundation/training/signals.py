"""An orderly end: the scheduler asks, the loop saves."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

# SIGTERM comes with scancel, preemption and `kill`; SIGUSR1 is what a lab's `--signal` may send.
ASKING = (signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def heard(then: Callable[[int], None]) -> Iterator[None]:
    """Call `then` with each of the signals that ask to stop; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {asking: signal.signal(asking, lambda number, _: then(number)) for asking in ASKING}
    try:
        yield
    finally:
        for asking, handler in before.items():
            signal.signal(asking, handler)
