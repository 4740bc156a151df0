"""An orderly end: the scheduler or the user asks, the loop saves."""

import logging
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import NoReturn

logger = logging.getLogger(__name__)

# SIGTERM comes with scancel, preemption and `kill`; SIGUSR1 is what a lab's `--signal` may send;
# SIGINT is Ctrl-C.
ASKING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


@contextmanager
def heard(then: Callable[[int], None]) -> Iterator[None]:
    """Call `then` with each of the signals that ask to stop; only the main thread can.

    A second Ctrl-C interrupts at once. Where Ctrl-C is ignored, it stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hear(number: int, _: object) -> None:
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        then(number)

    before = {
        asking: signal.signal(asking, hear)
        for asking in ASKING
        if asking != signal.SIGINT or signal.getsignal(asking) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for asking, handler in before.items():
            signal.signal(asking, handler)


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Start processes that a Ctrl-C in the terminal, which all of them get, does not reach."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def end(asked: Collection[int], told: str) -> NoReturn:
    """End the program as whoever asked expects: KeyboardInterrupt for Ctrl-C, else code 0."""
    logger.info("%s", told)
    if signal.SIGINT in asked:
        raise KeyboardInterrupt(told)
    raise SystemExit(0)
