"""Native programs: found, of a version that is known to work, run with their words kept."""

import logging
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread
from typing import IO

from epifoundation.errors import ToolError

logger = logging.getLogger(__name__)

STDERR_LINES = 8  # enough to hold STAR's and bwa's own explanation


@dataclass(frozen=True)
class Program:
    """A native program and the oldest version whose behaviour is relied on."""

    name: str
    version_arguments: tuple[str, ...]
    version_pattern: str
    minimum: tuple[int, ...]
    package: str  # Debian; bioconda's name, where it differs, after the slash


STAR = Program("STAR", ("--version",), r"(\d+)\.(\d+)\.(\d+)", (2, 7, 10), "rna-star / star")
BWA = Program("bwa", (), r"Version: (\d+)\.(\d+)\.(\d+)", (0, 7, 15), "bwa")
BGZIP = Program("bgzip", ("--version",), r"htslib\) (\d+)\.(\d+)", (1, 10), "tabix / htslib")
TABIX = Program("tabix", ("--version",), r"htslib\) (\d+)\.(\d+)", (1, 10), "tabix / htslib")


@cache
def find_program(program: Program) -> str:
    """Return the program's path, after checking its version."""
    path = shutil.which(program.name)
    if path is None:
        message = f"{program.name} is not on PATH. Install it (package {program.package})."
        raise ToolError(message)
    command = [path, *program.version_arguments]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(program.version_pattern, shown.stdout + shown.stderr)
    needed = ".".join(map(str, program.minimum))
    if found is None:
        message = f"{path} does not tell its version. {program.name} {needed} or newer is needed."
        raise ToolError(message)
    if tuple(map(int, found.groups())) < program.minimum:
        message = (
            f"{path} is version {'.'.join(found.groups())}; {needed} or newer is needed."
            f" Install package {program.package}."
        )
        raise ToolError(message)
    return path


def run_program(program: Program, arguments: Sequence[str | Path], *, folder: Path) -> None:
    """Run a program to its end in `folder`, or raise ToolError with its last words."""
    command = [find_program(program), *map(str, arguments)]
    logger.info("%s", " ".join(command))
    with tempfile.TemporaryFile() as words:
        ended = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=words, stderr=words, check=False
        )
        if ended.returncode:
            raise _failure(program.name, ended.returncode, words)


@contextmanager
def write_through(
    program: Program, arguments: Sequence[str | Path], output: Path
) -> Iterator[IO[bytes]]:
    """Yield a file object; what is written to it passes through the program into `output`."""
    command = [find_program(program), *map(str, arguments)]
    logger.info("%s > %s", " ".join(command), output)
    with tempfile.TemporaryFile() as words, output.open("wb") as target:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=target, stderr=words)
        assert process.stdin is not None
        try:
            yield process.stdin
        except BrokenPipeError:
            pass  # the program ended early; its exit code and words follow
        except BaseException:
            _end(process)
            raise
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
        if process.wait():
            raise _failure(program.name, process.returncode, words)


@contextmanager
def filter_through(
    program: Program, arguments: Sequence[str | Path], chunks: Iterable[bytes]
) -> Iterator[IO[bytes]]:
    """Feed `chunks` to a program in a thread of its own; yield what the program writes.

    An error raised by `chunks` ends the program and is raised here, before any of the program's.
    """
    command = [find_program(program), *map(str, arguments)]
    logger.info("%s", " ".join(command))
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words
        )
        feeder = _Feeder(process, chunks)
        feeder.start()
        assert process.stdout is not None
        try:
            yield process.stdout
            feeder.join()
            process.wait()
        finally:
            _end(process)
            feeder.join()
            process.stdout.close()
        if feeder.error is not None:
            raise feeder.error
        if process.returncode:
            raise _failure(program.name, process.returncode, words)


class _Feeder(Thread):
    """Writes chunks to a process's stdin, and keeps the error that stopped it."""

    def __init__(self, process: subprocess.Popen[bytes], chunks: Iterable[bytes]) -> None:
        super().__init__(daemon=True)
        self.process = process
        self.chunks = chunks
        self.error: Exception | None = None

    def run(self) -> None:
        assert self.process.stdin is not None
        try:
            for chunk in self.chunks:
                self.process.stdin.write(chunk)
        except BrokenPipeError:
            pass  # the program ended early; its exit code and words say why
        except Exception as error:  # handed to the thread that reads
            self.error = error
            self.process.kill()
        with suppress(BrokenPipeError):
            self.process.stdin.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def _failure(name: str, code: int, words: IO[bytes]) -> ToolError:
    words.seek(0)
    lines = [line for line in words.read().decode(errors="replace").splitlines() if line.strip()]
    said = "\n".join(f"  {line.strip()}" for line in lines[-STDERR_LINES:]) or "  (nothing)"
    hint = "It was killed, most often for lack of memory." if code in (-9, 137) else ""
    message = (
        f"{name} failed with exit code {code}. {hint}Its last words:\n{said}\n"
        "The full command is in this job's log."
    )
    return ToolError(message)
