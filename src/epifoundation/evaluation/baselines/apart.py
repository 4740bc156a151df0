"""How a method is run: none may take the others down with it."""

import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from epifoundation.errors import EvaluationError, MethodError
from epifoundation.jobs import join_log, log_file

logger = logging.getLogger(__name__)

Cells = TypeVar("Cells")
Result = TypeVar("Result")


def attempt(run: Callable[[Cells, int], Result], cells: Cells, seed: int, *, apart: bool) -> Result:
    """Return `run(cells, seed)`; what the method did not expect becomes a MethodError."""
    try:
        return run_apart(run, cells, seed) if apart else run(cells, seed)
    except EvaluationError:
        raise
    except Exception as error:
        logger.exception("a method broke down")
        lines = str(error).strip().splitlines() or ["no message"]
        message = f"{type(error).__name__}: {lines[0]}"
        raise MethodError(message) from error


def run_apart(run: Callable[[Cells, int], Result], cells: Cells, seed: int) -> Result:
    """Return `run(cells, seed)`, computed by a new process: the system may end it alone."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=join_log, initargs=(log_file(),)) as pool:
        try:
            return pool.submit(run, cells, seed).result()
        except BrokenProcessPool as error:
            message = "the system ended its process, most likely for want of memory"
            raise MethodError(message) from error
