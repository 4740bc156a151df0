"""The frame around one job: its log, its progress, and how its errors read."""

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from epifoundation.errors import EpiFoundationError, told_by_system

INTERRUPTED = 128 + signal.SIGINT  # as shells say it


@contextmanager
def job(log: str) -> Iterator[None]:
    """Log this job to `log`; end it with one line for a user's error, a traceback for ours."""
    Path(log).write_text("")
    join_log(log)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        told = str(interrupt) or "nothing is half-written; the same command starts this step again"
        logging.getLogger(__name__).info("interrupted: %s", told)
        sys.stderr.write(f"interrupted: {told}\n")
        sys.exit(INTERRUPTED)
    except Exception as error:
        line = told_by_system(error) if isinstance(error, OSError) else None
        if line is not None or isinstance(error, EpiFoundationError):
            logging.getLogger(__name__).error("%s", line or error, exc_info=line is not None)
            sys.stderr.write(f"error: {line or error}\n")
            sys.exit(1)
        logging.getLogger(__name__).exception("unexpected error, please report it")
        sys.stderr.write(f"error: unexpected failure, see {log}\n")
        sys.exit(1)


def join_log(log: str | None) -> None:
    """Log to a file that others log to as well: processes that a job starts add to its log."""
    if log is None:
        return
    logging.basicConfig(
        filename=log,
        filemode="a",
        force=True,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.captureWarnings(capture=True)


def log_file() -> str | None:
    """Return the file that this process logs to, for the processes that it starts."""
    handlers = logging.getLogger().handlers
    files = [handler for handler in handlers if isinstance(handler, logging.FileHandler)]
    return files[0].baseFilename if files else None
