"""The plan of a run, from the words of a dry run and what is recorded."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from epifoundation.config import Config, load_config
from epifoundation.planning.costs import read_costs
from epifoundation.planning.dry_run import Job, read_jobs
from epifoundation.planning.plan import cost_of_jobs, printed, tell
from epifoundation.samples import SampleSheet

ROOT = Path(__file__).parents[3]
RECORDED = ROOT / "benchmarks"
SAID = """\
Job stats:
job        count
-------  -------
download       1

[Tue Nov 24 15:26:43 2026]
rule download:
    input: results/acquire/liver/manifest.tsv
    output: results/fastq/liver (temporary), results/acquire/liver/reads.tsv
    log: results/logs/download/liver.log
    jobid: 3
    reason: Missing output files: results/fastq/liver; Input files updated by another job: x
    wildcards: sample=liver
    resources: tmpdir=/tmp

[Tue Nov 24 15:26:43 2026]
localrule all:
    input: results/report.html
    jobid: 0
    reason: Params have changed since last execution: before: x now: y

Reasons:
    (check individual jobs above for details)
    output files have to be generated:
        download
"""


def config(results: Path, **changes: object) -> Config:
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    return load_config(values | {"results_dir": str(results)} | changes)


@pytest.fixture(scope="module")
def sheet() -> SampleSheet:
    return SampleSheet.read("config/samples.tsv", labels="disco_wnn", root=ROOT)


def test_jobs_are_read_from_a_dry_run() -> None:
    first, last = read_jobs(SAID)
    assert (first.rule, first.reason, first.wildcards) == (
        "download",
        "not there",
        {"sample": "liver"},
    )
    assert first.outputs == ("results/fastq/liver", "results/acquire/liver/reads.tsv")
    assert (last.rule, last.reason, last.wildcards) == ("all", "settings or code", {})


def test_costs_follow_the_recorded_benchmarks() -> None:
    costs = read_costs(RECORDED, "cuda")
    assert costs["cluster"].cpu_hours == pytest.approx(184.4 / 10_000 / 3600, rel=0.5)
    assert costs["cluster"].is_recorded
    hours = costs["pretrain"].gpu_hours * 100_000 * 140
    assert hours == pytest.approx(16.1, abs=0.05)
    assert not costs["pretrain"].is_recorded
    on_cpu = read_costs(RECORDED, "cpu")["pretrain"]
    assert on_cpu.gpu_hours == 0
    assert on_cpu.cpu_hours > 100 * costs["pretrain"].cpu_hours


def plan(jobs: list[Job], sheet: SampleSheet, results: Path) -> pd.DataFrame:
    stages = {"download": "acquire", "fetch_reference": "reference", "pretrain": "pretrain"}
    return cost_of_jobs(jobs, sheet, config(results), stages, RECORDED)


def test_sizes_are_told_resolved_or_assumed(sheet: SampleSheet, tmp_path: Path) -> None:
    jobs = [Job("download", "not there", {"sample": name}) for name in ("liver", "skin", "lung")]
    folder = tmp_path / "acquire" / "lung"
    folder.mkdir(parents=True)
    table = pd.DataFrame({"url": ["https://host/a", "file:///b"], "bytes": [3e9, 1e9]})
    table.to_csv(folder / "manifest.tsv", sep="\t", index=False)
    incoming = tmp_path / "fastq" / ".incoming-lung"
    incoming.mkdir(parents=True)
    (incoming / "a.part").write_bytes(b"x" * 1_000_000)
    found = plan(jobs, sheet, tmp_path)
    typical = 465.9 / 11
    assert list(found["download_gb"]) == pytest.approx([43.0, typical, 2.999])
    page = printed(found, sheet, config(tmp_path))
    assert "Reads of 1 samples have no known size before `resolve`" in page
    assert "45 samples, 45 with cautions, 3 of them ASSUMED:\n  ASSUMED fallopian_tube" in page


def test_hours_are_those_of_this_run_where_it_has_some(sheet: SampleSheet, tmp_path: Path) -> None:
    jobs = [Job("pretrain", "not there", {"atlas": "miniatlas", "variant": "full", "seed": "0"})]
    before = plan(jobs, sheet, tmp_path)
    assert before["gpu_hours"].iloc[0] == pytest.approx(19 * 6300 * 140 * 1.15e-6)
    benchmark = tmp_path / "benchmarks" / "pretrain" / "miniatlas.full.seed0.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("s\tcpu_time\n9000\t7200\n")
    after = plan(jobs, sheet, tmp_path)
    assert after["cpu_hours"].iloc[0] == 2
    assert after["source"].iloc[0] == "this run's benchmarks"


def test_the_reference_is_fetched_once(sheet: SampleSheet, tmp_path: Path) -> None:
    found = plan([Job("fetch_reference", "not there", {"file": f}) for f in "ab"], sheet, tmp_path)
    assert list(found["download_gb"]) == [14, 0]


def test_cautions_are_told_where_nothing_is_to_be_done(
    sheet: SampleSheet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("epifoundation.planning.plan.jobs_of_dry_run", lambda arguments, folder: [])
    tell([], sheet, config(tmp_path), stages={}, recorded=RECORDED, folder=tmp_path)
    said = capsys.readouterr().out
    assert said.startswith("Nothing to be done")
    assert "\n  ASSUMED retina (atlas" in said
    assert list(tmp_path.iterdir()) == []
