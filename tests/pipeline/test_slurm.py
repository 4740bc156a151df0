"""The demo's first stages as jobs of a real one-node SLURM, through the shipped profile."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
START = ROOT / "../shared/scripts/start_slurm.sh"
MUNGED_ID = Path("/run/munge/munged.pid")
SUBMITTED = ("simulate", "download")  # resolving is done where Snakemake runs


def _run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def _install_slurm():
    for command in (
        ["apt-get", "update"],
        ["apt-get", "install", "-y", "--no-install-recommends", "slurm-wlm", "munge"],
    ):
        done = _run(*command, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
        if done.returncode:
            pytest.skip(f"SLURM is missing and apt cannot install it: {done.stderr[-200:]}")


@pytest.fixture
def slurm(monkeypatch):
    """A running SLURM; stopped afterwards if it was started here."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if not START.exists():
        pytest.skip("../shared/scripts/start_slurm.sh is not beside the checkout")
    if os.geteuid():
        pytest.skip("starting SLURM needs root")
    if not shutil.which("slurmctld") or not shutil.which("munged"):
        if not shutil.which("apt-get"):
            pytest.skip("SLURM is not installed, and there is no apt-get to install it")
        _install_slurm()
    munge_was_up = _run("munge", "-n", stdin=subprocess.DEVNULL).returncode == 0
    started = _run("bash", str(START))
    if started.returncode:
        pytest.skip(f"SLURM does not start here: {started.stdout[-200:]}{started.stderr[-200:]}")
    yield
    if "already up" not in started.stdout:
        _run("bash", str(START), "stop")
    if not munge_was_up and MUNGED_ID.exists():
        os.kill(int(MUNGED_ID.read_text()), 15)


@pytest.mark.slow
def test_first_stages_run_as_slurm_jobs(slurm, tmp_path):
    sample = (ROOT / "config/demo_samples.tsv").read_text().splitlines()
    row = dict(zip(sample[0].split("\t"), sample[1].split("\t"), strict=True))["sample"]
    targets = [f"results-demo/acquire/{row}/manifest.tsv", f"results-demo/fastq/{row}"]
    done = _run(
        *(
            sys.executable,
            "-m",
            "snakemake",
            "--profile",
            "slurm",
            *targets,
            "--directory",
            str(tmp_path),
        ),
        *("--configfile", "config/demo.yaml", "--config", "simulate={seed: 0, size: small}"),
        *("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10", "--notemp"),
        *("--set-threads", "download=1"),  # this node is small, and SLURM would wait for a larger
        cwd=ROOT,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert (tmp_path / targets[0]).exists()
    assert list((tmp_path / targets[1]).glob("*.fastq.gz"))
    submitted = re.findall(r"SLURM jobid (\d+)", done.stdout + done.stderr)
    assert len(submitted) >= len(SUBMITTED), done.stderr[-4000:]
    for job in submitted:
        assert "JobState=COMPLETED" in _run("scontrol", "show", "job", job).stdout
