"""MACS2, or MACS3, with the arguments of Signac's CallPeaks."""

import logging
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from epifoundation.config import PeakConfig
from epifoundation.data.starts import LARGEST_COUNT
from epifoundation.errors import DataError, ToolError

logger = logging.getLogger(__name__)

VERSIONS = {
    "macs2": ("2.2.7.1", "2.2.9.1"),  # the paper's; and one that calls the same peaks
    "macs3": ("3.0.4",),  # calls the same peaks too
}
BED_COLUMNS = ["chrom", "start", "end", "name", "score"]
RARE = 1e-5  # MACS2 --keep-dup auto: so improbable are more tags at one position


def narrow_peaks(
    program: str,
    inputs: Sequence[str],
    settings: PeakConfig,
    *,
    tag_size: int,
    keep_duplicates: int | str,
    folder: Path,
) -> pd.DataFrame:
    """Return the narrow peaks of BED files: chrom, start, end (0-based, half-open), name, score.

    `tag_size` stands for what the program would measure on the first ten lines; it is also the
    largest gap within a peak, as it is by default.
    """
    command = [program, "callpeak", "-t", *inputs, *_arguments(settings)]
    command += ["--keep-dup", str(keep_duplicates)]
    command += ["--tsize", str(tag_size), "--max-gap", str(tag_size)]
    command += ["-n", "pool", "--outdir", str(folder), "--tempdir", str(folder)]
    logger.info("%s", " ".join(command))
    told = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as run:
        assert run.stderr is not None
        for line in run.stderr:
            told.append(line.decode(errors="replace").strip())
            logger.info("%s: %s", settings.caller, told[-1])
    if run.returncode:
        raise ToolError(_failure(settings.caller, run.returncode, told))
    return _read_narrow_peaks(folder / "pool_peaks.narrowPeak")


def largest_duplicates(settings: PeakConfig, n_fragments: int) -> int | None:
    """Return how many tags of one position are kept at most; None where all are.

    For `auto` what MACS2 computes itself: the smallest number that a position exceeds with a
    chance below 1e-5, were the tags spread evenly.
    """
    if settings.keep_duplicates == "all":
        return None
    if settings.keep_duplicates != "auto":
        return settings.keep_duplicates
    # Cumulated chances of 0, 1, 2 ... fragments at a position, each from the one before.
    odds = 1 / (settings.genome_size - 1)
    largest, chance = 0, math.exp(n_fragments * math.log1p(-1 / settings.genome_size))
    total = chance
    while total <= 1 - RARE and largest <= LARGEST_COUNT:
        largest += 1
        chance *= odds * (n_fragments - largest + 1) / largest
        total += chance
    if largest > LARGEST_COUNT:
        message = (
            f"peaks.keep_duplicates: auto would keep more than {LARGEST_COUNT} fragments a base,"
            f" with {n_fragments:,} on {settings.genome_size:,.0f} bases. Check peaks.genome_size."
        )
        raise DataError(message)
    return max(1, largest)


def find_caller(caller: str) -> str:
    """Return the path of the program in a supported version: on PATH, or beside this Python."""
    versions = VERSIONS[caller]
    beside = Path(sys.executable).with_name(caller)
    candidates = [shutil.which(caller), str(beside) if beside.exists() else None]
    found = []
    for program in dict.fromkeys(filter(None, candidates)):
        run = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        version = (run.stdout + run.stderr).strip().split("\n")[-1].removeprefix(f"{caller} ")
        if version in versions:
            return program
        found.append(f"{program} is version {version[:80] or 'unknown'}")
    what = "; ".join(found) or "it is not installed"
    message = (
        f"{caller} {' or '.join(versions)} is needed: {what}."
        f" Install it with `pip install {caller}=={versions[-1]}`."
    )
    raise ToolError(message)


def _arguments(settings: PeakConfig) -> list[str]:
    """Return what Signac 1.8.0's CallPeaks passes, with the configured numbers."""
    return [
        *("-g", f"{settings.genome_size:g}", "-f", "BED", "--nomodel"),
        *("--extsize", str(settings.extension_bp), "--shift", str(-(settings.extension_bp // 2))),
        *("-q", f"{settings.q_value:g}"),
    ]


def _failure(caller: str, code: int, told: Sequence[str]) -> str:
    last = next((line for line in reversed(told) if line), "no output")
    message = f"{caller} callpeak failed (exit code {code}): {last}"
    if any("No space left" in line for line in told):
        message += ". Set TMPDIR to a folder with more room."
    elif code < 0:
        message += ". It was killed, often for want of memory."
    return message


def _read_narrow_peaks(path: Path) -> pd.DataFrame:
    if not path.stat().st_size:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in BED_COLUMNS})
    return pd.read_csv(path, sep="\t", header=None, usecols=range(5), names=BED_COLUMNS)
