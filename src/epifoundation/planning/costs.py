"""What the jobs of each rule take: recorded benchmarks, this run's own, and estimates."""

import csv
import importlib.resources
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

OTHER_HOURS = 0.01  # of a job that no table lists: scores, tables, figures


@dataclass(frozen=True)
class Cost:
    """What a unit (job, GB of reads, cell, cell and epoch) of a rule takes."""

    per: str
    cpu_hours: float
    gpu_hours: float
    kept_gb: float
    scratch_gb: float
    source: str
    is_recorded: bool = False
    is_of_model: bool = False  # grows with the model


def read_costs(recorded: Path, device: str) -> dict[str, Cost]:
    """Return the cost of each rule, by the table of the package and the benchmarks it names.

    Where training runs on a CPU (`device`) it takes no GPU, and the CPU hours recorded for it.
    """
    table = importlib.resources.files("epifoundation.planning") / "costs.tsv"
    costs = {}
    for row in csv.DictReader(table.read_text().splitlines(), delimiter="\t"):
        gpu = float(row["gpu_hours"])
        hours = float(row["cpu_hours"] or 0)
        if row["recorded"]:
            hours = _recorded(recorded, row["recorded"]) * float(row["units"]) / 3600
        if gpu and device == "cuda":
            hours = 2 * gpu  # a process that feeds the device, and one that reads
        is_recorded = bool(row["recorded"]) and not (gpu and device == "cuda")
        costs[row["rule"]] = Cost(
            row["per"],
            hours,
            gpu if device == "cuda" else 0.0,
            float(row["kept_gb"]),
            float(row["scratch_gb"]),
            row["recorded"].partition(":")[0] if is_recorded else row["source"],
            is_recorded,
            is_of_model=gpu > 0,
        )
    return costs


def _recorded(folder: Path, words: str) -> float:
    """Return a ratio such as `clustering.json: cpu_seconds / cells`, in seconds a unit."""
    name, _, ratio = words.partition(": ")
    path = folder / name
    if not path.exists():
        return 0.0
    content = json.loads(path.read_text())
    over, _, under = ratio.rpartition(" / ")
    return _at(content, over) / _at(content, under)


def _at(content: object, words: str) -> float:
    if re.fullmatch(r"[\d.e]+", words):
        return float(words)
    for key in words.split(" > "):
        assert isinstance(content, Mapping)
        content = content[key]
    assert isinstance(content, int | float)
    return float(content)


def measured_hours(results: Path, rule: str) -> float | None:
    """Return the mean CPU hours of a rule's jobs that ran in this results folder."""
    folder = results / "benchmarks"
    files = [*folder.glob(f"{rule}.tsv"), *folder.glob(f"{rule}/**/*.tsv")]
    seconds = [float(row["cpu_time"]) for path in files for row in _benchmark(path)]
    return sum(seconds) / len(seconds) / 3600 if seconds else None


def _benchmark(path: Path) -> list[dict[str, str]]:
    with path.open() as handle:
        rows = csv.DictReader(handle, delimiter="\t")
        return [row for row in rows if row.get("cpu_time") not in (None, "", "NA", "-")]
