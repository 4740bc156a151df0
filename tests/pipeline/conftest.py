"""The workflow as a user runs it; one run of the demo serves every pipeline test."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "results-demo"


@dataclass(frozen=True)
class Run:
    """A finished Snakemake call."""

    code: int
    output: str

    def jobs(self) -> dict[str, int]:
        """Return how many jobs of each rule were planned, without the targets."""
        table = re.search(r"job +count\n-+ +-+\n((?:\S+ +\d+\n)+)", self.output)
        counts = dict(line.split() for line in table[1].splitlines()) if table else {}
        targets = {"total", "all", "tables", "figures", "report", "miniatlas", "clusters"}
        targets.add("complete")  # of tables and all: what is said of them at the end
        return {rule: int(n) for rule, n in counts.items() if rule not in targets}


def run_snakemake(*options: str | Path, cores: int = 2) -> Run:
    """Run Snakemake in the checkout, with the tools of this Python first on PATH."""
    binaries = str(Path(sys.executable).parent)
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    # Where SLURM is installed but not running, its plugin would wait for it in every call.
    environment = os.environ | {"PATH": path, "SLURM_CONF": os.devnull}
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--show-failed-logs"]
    finished = subprocess.run(
        [*command, *map(str, options)], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    return Run(finished.returncode, finished.stdout + finished.stderr)


@pytest.fixture(scope="session")
def snakemake() -> Callable[..., Run]:
    return run_snakemake


@pytest.fixture(scope="session")
def demo() -> Path:
    """The results of the demo, run now unless they are there already."""
    run = run_snakemake("--configfile", "config/demo.yaml", "--rerun-incomplete")
    assert run.code == 0, run.output[-6000:]
    return DEMO
