"""The jobs of a run, from what Snakemake says it would do."""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from epifoundation.errors import ConfigError

HEADER = re.compile(r"^(?:local)?rule (\w+):$")
NOTE = re.compile(r" \(\w+\)$")  # of an output: (update)
REASONS = (  # of a reason that names several, the first of these
    ("Forced execution", "forced"),
    ("Params have changed", "settings or code"),
    ("Code has changed", "settings or code"),
    ("Software environment", "environment"),
    ("Set of input files has changed", "other inputs"),
    ("Missing output files", "not there"),
    ("Updated input files", "newer inputs"),
    ("Input files updated by another job", "inputs remade"),
)


@dataclass(frozen=True)
class Job:
    """A job that a dry run announces."""

    rule: str
    reason: str
    wildcards: Mapping[str, str]
    outputs: tuple[str, ...] = ()


def jobs_of_dry_run(arguments: Sequence[str], folder: Path) -> list[Job]:
    """Return the jobs that Snakemake would run, called with `arguments` in `folder`."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--dry-run", "--nolock"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode:
        message = f"the run cannot be planned:\n{(run.stderr + run.stdout).strip()[-3000:]}"
        raise ConfigError(message)
    return read_jobs(run.stdout + run.stderr)


def read_jobs(text: str) -> list[Job]:
    """Return the jobs in the words of a dry run."""
    jobs: list[Job] = []
    rule, said = "", dict[str, str]()

    def close() -> None:
        if rule and "jobid" in said:
            pairs = (part.partition("=") for part in said.get("wildcards", "").split(", "))
            wildcards = {name: value for name, _, value in pairs if name}
            outputs = tuple(NOTE.sub("", part) for part in said.get("output", "").split(", "))
            jobs.append(
                Job(rule, _short(said.get("reason", "")), wildcards, tuple(filter(None, outputs)))
            )

    for line in text.splitlines():
        if header := HEADER.match(line):
            close()
            rule, said = header[1], {}
        elif line.startswith("    "):
            name, _, value = line.strip().partition(": ")
            said.setdefault(name, value)
    close()
    return jobs


def _short(reason: str) -> str:
    return next((short for long, short in REASONS if long in reason), reason.partition(":")[0])
