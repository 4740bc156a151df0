"""Pretraining that is stopped and killed under Snakemake goes on when it is run again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file
from snakemake.utils import update_config

from epifoundation.config import load_config
from epifoundation.contracts import SPLIT
from epifoundation.data.splits import split_cells
from epifoundation.data.store import TokenStore
from epifoundation.data.tokens import write_store
from epifoundation.data.vocabulary import Vocabulary, build_vocabulary
from epifoundation.simulate import simulate_multiome
from epifoundation.training.loop import use_threads
from epifoundation.training.pretrain import pretrain

MODEL = "models/miniatlas/pretrain/full.seed0"
FOLDER = "training/pretrain/miniatlas.full.seed0"
SETTINGS = {
    "model": {"d_model": 32, "n_layers": 2, "max_peaks": 60, "max_genes": 60},
    "pretrain": {"epochs": 40, "patience": 40},
    "training": {"checkpoint_updates": 1, "n_workers": 1},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """A folder of results as it is before pretraining, of sixty simulated cells."""
    folder = tmp_path_factory.mktemp("killed") / "results"
    cells = simulate_multiome(0, 60, n_genes=150, n_peaks=300, n_fragments=150, n_umis=200)
    vocabulary = build_vocabulary(cells)
    atlas = folder / "atlas" / "miniatlas"
    write_store(cells, vocabulary, atlas / "store" / "ALLTissue")
    (atlas / "vocabulary").mkdir()
    vocabulary.write_files(atlas / "vocabulary")
    split = split_cells(
        cells.obs_names, seed=0, dataset="tiny", validation_fraction=0.2, test_fraction=0.2
    )
    (atlas / "splits").mkdir()
    SPLIT.write(split, atlas / "splits" / "ALLTissue.paper.seed0.tsv")
    return folder


def command(overlay: Path, results: Path) -> list[str]:
    options = ["--cores", "2", "--allowed-rules", "pretrain", "--nolock", "--rerun-incomplete"]
    files = ["--configfile", "config/demo.yaml", str(overlay)]
    return [sys.executable, "-m", "snakemake", *options, *files, "--", str(results / MODEL)]


def wait_for_step(folder: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if any(int(path.name[5:]) >= step for path in folder.glob("step-*")):
            return
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint {step} in {folder}")


def test_stopped_then_killed_is_as_if_nothing_had_been(root, results, tmp_path):
    """SIGTERM to all at once, as SLURM sends it; Ctrl-C, as a terminal does; SIGKILL to the job."""
    overlay = tmp_path / "overlay.yaml"
    profiles = {"profiles": str(results / "simulated" / "profiles.tsv")}  # not read here
    settings = {"results_dir": str(results), "labels": profiles, **SETTINGS}
    overlay.write_text(yaml.safe_dump(settings))
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SLURM_CONF": os.devnull,
    }
    call = command(overlay, results)
    options = {"cwd": root, "env": environment, "text": True, "start_new_session": True}
    folder = results / FOLDER

    log, saved = results / "logs/pretrain/miniatlas.full.seed0.log", 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job ignores
    for asking in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(call, stderr=subprocess.PIPE, **options) as snakemake:
            wait_for_step(folder, saved + 10)
            os.killpg(snakemake.pid, asking)
            told = snakemake.communicate(timeout=120)[1]
        assert snakemake.returncode != 0, told
        assert not (results / MODEL).exists()
        saved = max(int(path.name[5:]) for path in folder.glob("step-*"))
        stop = f"asked to stop after update {saved}: all is saved in {folder}, and the same command"
        assert stop in log.read_text()
    assert f"interrupted: {stop}" in told

    with subprocess.Popen(call, stderr=subprocess.PIPE, **options) as snakemake:
        wait_for_step(folder, saved + 10)
        for process in psutil.Process(snakemake.pid).children(recursive=True):
            process.kill()
        told = snakemake.communicate(timeout=120)[1]
    assert snakemake.returncode != 0, told
    assert not (results / MODEL).exists()

    finished = subprocess.run(call, capture_output=True, timeout=300, **options)
    assert finished.returncode == 0, finished.stderr
    assert "going on in epoch" in log.read_text()
    assert not list(folder.glob("step-*"))

    raw = yaml.safe_load((root / "config.yaml").read_text())
    for text in ((root / "config/demo.yaml").read_text(), overlay.read_text()):
        update_config(raw, yaml.safe_load(text))
    cfg = load_config(raw)
    atlas = results / "atlas" / "miniatlas"
    with use_threads(1):
        whole = pretrain(
            TokenStore.open(atlas / "store" / "ALLTissue"),
            SPLIT.read(atlas / "splits" / "ALLTissue.paper.seed0.tsv"),
            Vocabulary.read(atlas / "vocabulary"),
            cfg.model,
            cfg.pretrain,
            cfg.training,
            variant="full",
            seed=0,
        )
    weights = load_file(results / MODEL / "model.safetensors")
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
