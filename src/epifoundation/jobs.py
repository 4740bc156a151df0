"""The frame around one job: its log, its progress, and how its errors read."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from epifoundation.errors import EpiFoundationError, told_by_system


@contextmanager
def job(log: str) -> Iterator[None]:
    """Log this job to `log`; end it with one line for a user's error, a traceback for ours."""
    Path(log).write_text("")
    logging.basicConfig(
        filename=log,
        filemode="a",  # processes that a job starts add to it
        force=True,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.captureWarnings(capture=True)
    try:
        yield
    except Exception as error:
        line = told_by_system(error) if isinstance(error, OSError) else None
        if line is not None or isinstance(error, EpiFoundationError):
            logging.getLogger(__name__).error("%s", line or error, exc_info=line is not None)
            sys.stderr.write(f"error: {line or error}\n")
            sys.exit(1)
        logging.getLogger(__name__).exception("unexpected error, please report it")
        sys.stderr.write(f"error: unexpected failure, see {log}\n")
        sys.exit(1)
