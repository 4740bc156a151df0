"""The report's sections about the run: in short, what is missing, time, versions and hashes."""

import hashlib
import json
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd
import yaml

from epifoundation.contracts import COMPARISONS
from epifoundation.files import file_hash
from epifoundation.reporting.layouts import LAYOUTS, PAPER_PROTOCOL, UNRANKED, Layout
from epifoundation.reporting.names import arrow, direction, method_name, metric_name
from epifoundation.reporting.sections import Frame, Section, frame_of

LIBRARIES = (
    *("epifoundation", "snakemake", "torch", "numpy", "pandas", "scipy", "anndata", "scanpy"),
    *("scvi-tools", "scikit-learn", "umap-learn", "matplotlib", "pysam"),
)
PROGRAMS = {  # how each says its version, and where in what it says
    "STAR": (["--version"], r"\S+"),
    "bwa": ([], r"Version: (\S+)"),
    "samtools": (["--version"], r"samtools (\S+)"),
    "macs2": (["--version"], r"macs2 (\S+)"),
}
HEADLINES = {1: "nmi", 2: "macro_f1", 3: "mse"}  # of Tables 1 to 3: the metric of the first lines
OURS = "epifoundation"


def short_section(metrics: pd.DataFrame) -> Section:
    """Return where EpiFoundation stands, by data set, in one number of each task."""
    section = Section("In short")
    rows = [
        row for number, metric in HEADLINES.items() for row in _standing(metrics, number, metric)
    ]
    if not rows:
        section.notes.append("Nothing was scored.")
        return section
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        first = sum(row["best other method"] != "" and row["ahead"] == "yes" for row in own)
        of = f"{own[0]['metric']}, protocol {PAPER_PROTOCOL}"
        section.notes.append(
            f"{task} ({of}): EpiFoundation is ahead of every other method on {first} of"
            f" {len(own)} data sets."
        )
    n_missing = int(metrics["value"].isna().sum())
    section.notes.append(
        f"{len(metrics):,} numbers were asked for"
        + (
            f", {n_missing:,} of them have no value: see Missing."
            if n_missing
            else "; all are there."
        )
    )
    section.frames.append(frame_of(pd.DataFrame(rows), "EpiFoundation and the best other method"))
    return section


def _standing(metrics: pd.DataFrame, number: int, metric: str) -> list[dict[str, object]]:
    layout = LAYOUTS[number]
    chosen = metrics[
        (metrics["task"] == layout.task)
        & (metrics["metric"] == metric)
        & (metrics["protocol"] == PAPER_PROTOCOL)
        & ~metrics["method"].isin(UNRANKED)
        & metrics["value"].notna()
    ]
    rows = []
    for (atlas, dataset), group in chosen.groupby(["atlas", "dataset"], sort=False):
        values = group.groupby("method", sort=False)["value"].mean()
        if OURS not in values:
            continue
        rows.append(_against_the_best(values, layout, metric, f"{atlas} {dataset}"))
    return rows


def _against_the_best(
    values: pd.Series, layout: Layout, metric: str, where: str
) -> dict[str, object]:
    others = values.drop(OURS) * direction(metric)
    best = str(others.idxmax()) if len(others) else ""
    ahead = len(others) > 0 and values[OURS] * direction(metric) > others[best]
    return {
        "task": layout.title,
        "data set": where,
        "metric": metric_name(metric) + arrow(metric),
        "EpiFoundation": float(values[OURS]),
        "best other": float(values[best]) if best else float("nan"),
        "best other method": method_name(best) if best else "",
        "ahead": "yes" if ahead else "no",
    }


def comparisons_section(path: str | None) -> Section:
    """Return which differences from EpiFoundation the data can carry."""
    section = Section("Comparisons")
    table = COMPARISONS.read(path) if path else pd.DataFrame()
    if table.empty:
        section.notes.append("No method was compared with EpiFoundation.")
        return section
    section.notes.append(
        "EpiFoundation minus each other method, with the 95 % interval of the difference over test"
        " cells, donors or seeds. Undecided: the interval holds 0, or there is none."
    )
    said: dict[tuple[str, str], dict[str, None]] = {}
    for row in table[table["note"] != ""].to_dict("records"):
        said.setdefault((str(row["task"]), str(row["note"])), {})[str(row["dataset"])] = None
    section.notes += [f"{task}, {', '.join(names)}: {note}" for (task, note), names in said.items()]
    counts = pd.crosstab([table["task"], table["drawn"]], table["better"]).reset_index()
    section.frames.append(frame_of(counts, "How many comparisons are decided"))
    shown = table.assign(
        method=table["method"].map(method_name), metric=table["metric"].map(metric_name)
    )
    shown = shown if shown["atlas"].nunique() > 1 else shown.drop(columns="atlas")
    section.frames.append(frame_of(shown, "Differences from EpiFoundation", folded=True))
    return section


def missing_section(metrics: pd.DataFrame) -> Section:
    """Return what has no number, and why."""
    section = Section("Missing")
    missing = metrics[metrics["value"].isna()]
    if missing.empty:
        section.notes.append("Every method has every number: nothing was skipped, nothing failed.")
        return section
    section.notes.append("What has no number in the tables, and the reason that was left.")
    keys = ["task", "atlas", "dataset", "protocol", "note"]
    rows = [
        {
            **dict(zip(keys[:-1], map(str, names[:-1]), strict=True)),
            "methods": ", ".join(dict.fromkeys(map(method_name, group["method"]))),
            "metrics": ", ".join(dict.fromkeys(map(metric_name, group["metric"]))),
            "reason": str(names[-1]) or "no reason was left",
        }
        for names, group in missing.groupby(keys, sort=False)
    ]
    section.frames.append(frame_of(pd.DataFrame(rows), "Without a number"))
    return section


def run_time_section(folder: Path) -> Section:
    """Return jobs, time and memory of each rule that was measured."""
    rows = []
    for path in sorted(folder.glob("**/*.tsv")):
        table = pd.read_csv(path, sep="\t", na_values="-")
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        rows.append(
            {
                "rule": rule,
                "seconds": float(table["s"].max()),
                "cpu": float(table["cpu_time"].max()) if "cpu_time" in table else float("nan"),
                "memory": float(table["max_rss"].max()),
            }
        )
    if not rows:
        return Section("Run time", notes=["No rule left a benchmark file."])
    times = pd.DataFrame(rows).groupby("rule", sort=True)
    summary = pd.DataFrame(
        {
            "jobs": times.size(),
            "seconds in all": times["seconds"].sum(),
            "longest (s)": times["seconds"].max(),
            "CPU seconds": times["cpu"].sum(),
            "largest memory (MiB)": times["memory"].max(),
        }
    ).reset_index()
    ordered = summary.sort_values("seconds in all", ascending=False)
    note = (
        f"{ordered['seconds in all'].sum() / 3600:.2f} hours in {int(ordered['jobs'].sum()):,} jobs"
        " that were measured, one after another; jobs of seconds are not. No memory: the job ended"
        " before it was looked at."
    )
    return Section("Run time", [note], [frame_of(ordered, "By rule")])


def versions_section() -> Section:
    """Return the versions of libraries and programs of this machine."""
    libraries = [["Python", platform.python_version()]]
    for name in LIBRARIES:
        try:
            libraries.append([name, version(name)])
        except PackageNotFoundError:
            libraries.append([name, "not installed"])
    programs = [[name, program_version(name)] for name in PROGRAMS]
    frames = [
        Frame("Libraries", ["name", "version"], libraries),
        Frame("Programs", ["name", "version"], programs),
    ]
    note = "Of the machine that wrote this page; jobs on a cluster ran in the same environment."
    return Section("Versions", [note], frames)


def program_version(name: str) -> str:
    """Return what a program says of its version."""
    if shutil.which(name) is None:
        return "not on this machine"
    options, pattern = PROGRAMS[name]
    try:
        done = subprocess.run(
            [name, *options],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "did not say"
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(found.lastindex or 0) if found else "did not say"


def configuration_section(
    settings: Mapping[str, object], metrics: str, stores: Mapping[str, str], inputs: pd.DataFrame
) -> Section:
    """Return the configuration, and hashes by which a run is told from another."""
    text = yaml.safe_dump(dict(settings), sort_keys=False)
    rows = [
        ["configuration", hashlib.sha256(text.encode()).hexdigest()],
        ["metrics.tsv", file_hash(metrics)],
        *([f"vocabulary, {name}", _vocabulary_hash(path)] for name, path in stores.items()),
    ]
    keys = ["atlas", "dataset", "protocol", "seed"]
    for names, group in inputs[inputs["input_hash"] != ""].groupby(keys, sort=False):
        where = " ".join(map(str, names[:3])) + f" seed {names[3]}"
        rows.append([f"split, {where}", ", ".join(dict.fromkeys(group["input_hash"]))])
    note = "The same hash means the same content. Of a configuration, every setting is below."
    frame = Frame("Hashes", ["of", "hash"], rows)
    return Section("Configuration", [note], [frame], texts=[text])


def _vocabulary_hash(store: str) -> str:
    return str(json.loads(Path(store, "meta.json").read_text())["vocabulary_hash"])
