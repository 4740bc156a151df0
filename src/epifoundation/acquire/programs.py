"""Native programs that acquisition runs, their words kept in the log."""

import logging
import subprocess

from epifoundation.errors import ToolError

logger = logging.getLogger(__name__)

SETUP = "`make setup` says how to install it."


def run_program(command: list[str], advice: str = SETUP) -> None:
    """Run a program, its output going to the log; `advice` says how to get it."""
    logger.info("%s", " ".join(command))
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except FileNotFoundError:
        message = f"{command[0]} is not on PATH. {advice}"
        raise ToolError(message) from None
    lines: list[str] = []
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            logger.info("%s: %s", command[0], line.rstrip())
            lines.append(line.strip())
    if process.returncode:
        last = next((line for line in reversed(lines) if line), "no output")
        message = f"{command[0]} failed with code {process.returncode}: {last} (see the log)."
        raise ToolError(message)
