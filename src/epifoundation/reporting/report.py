"""The report: one self-contained page about a run, from its files."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml

from epifoundation.contracts import (
    AGREEMENT,
    CONFUSION,
    PEAK_SUMMARY,
    QC_ALTERNATIVES,
    QC_FUNNEL,
    SATURATED,
)
from epifoundation.files import whole
from epifoundation.reporting.page import STYLE

LIBRARIES = ("epifoundation", "torch", "scanpy", "anndata", "scvi-tools", "scikit-learn", "scib")
N_DIFFERENCES = 15  # between label sources, of an atlas
CURVES = ("loss", "validation_loss")


@dataclass(frozen=True)
class Frame:
    """A titled table of texts."""

    title: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Image:
    """A PNG, encoded."""

    caption: str
    data: str


@dataclass
class Section:
    """Part of the report."""

    title: str
    notes: list[str] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    fragments: list[str] = field(default_factory=list)  # HTML of ours
    images: list[Image] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """Return the section's name in links."""
        return self.title.lower().replace(" ", "-")


@dataclass(frozen=True)
class ReportFiles:
    """What the report reads; mappings go from a caption to a path."""

    funnels: Mapping[str, str]  # QC_FUNNEL by sample
    alternatives: Mapping[str, str]  # QC_ALTERNATIVES by sample
    peaks: Mapping[str, str]  # summary by atlas
    stores: Mapping[str, str]  # token store by atlas and data set
    agreements: Mapping[str, str]  # AGREEMENT of label sources by atlas
    confusions: Mapping[str, str]  # CONFUSION likewise
    models: Mapping[str, str]  # model directory by what it learned
    tables: Sequence[str]  # table{1..5}.html
    figures: Mapping[str, str]  # PNG by caption
    recovery: str | None
    benchmarks: Path  # folder of Snakemake's benchmark files


def write_report(
    files: ReportFiles,
    samples: Sequence[Mapping[str, str]],
    settings: Mapping[str, object],
    output: Path | str,
) -> None:
    """Write the page; `samples` are rows of the sample sheet, `settings` the configuration."""
    sections = [
        _samples_section(samples),
        _quality_section(files.funnels, files.alternatives),
        _peaks_section(files.peaks),
        _labels_section(files.stores),
        _sources_section(files.agreements, files.confusions),
        _training_section(files.models),
        Section("Tables", fragments=[_body(path) for path in files.tables]),
        Section("Figures", images=[_image(path, name) for name, path in files.figures.items()]),
        _recovery_section(files.recovery),
        _run_time_section(files.benchmarks),
        Section("Versions", frames=[_versions()]),
        Section("Configuration", texts=[yaml.safe_dump(dict(settings), sort_keys=False)]),
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report_template.html").render(
        style=STYLE,
        summary=f"{len(samples)} samples, results in {settings['results_dir']}.",
        sections=sections,
    )
    with whole(output) as partial:
        partial.write_text(page, encoding="utf-8")


def frame_of(table: pd.DataFrame, title: str) -> Frame:
    """Return the table as texts: numbers rounded, thousands separated."""
    rows = [[_text(value) for value in row] for row in table.to_numpy(dtype=object)]
    return Frame(title, [str(name).replace("_", " ") for name in table.columns], rows)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    if isinstance(value, float | np.floating):
        number = float(value)
        large = abs(number) >= 1000
        return "—" if np.isnan(number) else f"{number:,.0f}" if large else f"{number:.4g}"
    return str(value)


def _samples_section(samples: Sequence[Mapping[str, str]]) -> Section:
    shown = ["sample", "atlas", "role", "dataset", "tissue", "batch", "donor", "entry", "caution"]
    sheet = pd.DataFrame([{name: row[name] for name in shown} for row in samples])
    return Section("Samples", frames=[frame_of(sheet, "Sample sheet")])


def _quality_section(funnels: Mapping[str, str], alternatives: Mapping[str, str]) -> Section:
    section = Section("Quality control")
    tables = {name: QC_FUNNEL.read(path) for name, path in funnels.items()}
    passing = {
        name: table.set_index("criterion")["n_barcodes"].rename(lambda text: text.replace("_", " "))
        for name, table in tables.items()
    }
    in_order = max(passing.values(), key=len, default=pd.Series(dtype=int)).index
    counts = pd.DataFrame(passing).T.reindex(columns=in_order).rename_axis("sample").reset_index()
    section.notes.append(
        "Barcodes that pass each criterion by itself; kept are those that pass all."
    )
    section.frames.append(frame_of(counts, "Barcodes by criterion"))
    remarks: dict[str, list[str]] = {}
    for name, table in tables.items():
        for row in table[table["note"] != ""].itertuples():
            remarks.setdefault(f"{row.criterion} {row.note}", []).append(name)
    section.notes += [f"{remark} ({', '.join(names)})." for remark, names in remarks.items()]
    compared = [
        QC_ALTERNATIVES.read(path).assign(sample=name) for name, path in alternatives.items()
    ]
    if compared:
        table = pd.concat(compared, ignore_index=True)
        shown = ["sample", *QC_ALTERNATIVES.dtypes]
        section.notes.append(
            "Alternatives: cells meet all criteria under the definition used or under the other;"
            " barcodes meet the criteria that rest on it."
        )
        section.frames.append(frame_of(table[shown], "Other definitions of the same metrics"))
    return section


def _peaks_section(paths: Mapping[str, str]) -> Section:
    tables = {name: PEAK_SUMMARY.read(path) for name, path in paths.items()}
    section = Section("Peaks", frames=[frame_of(table, name) for name, table in tables.items()])
    section.notes.append(
        "A row a call; occupancy is the share of bases at which a fragment starts, inside the"
        " peaks and outside."
    )
    for name, table in tables.items():
        for row in table[table["occupancy_in_peaks"] > SATURATED].itertuples():
            section.notes.append(
                f"Warning: {name}, call {row.call}: {row.occupancy_in_peaks:.0%} of the bases of"
                " peaks are taken, so that one tag a base hides how open they are. Consider"
                " peaks.calls: sample or cluster, or peaks.keep_duplicates: auto."
            )
    return section


def _labels_section(stores: Mapping[str, str]) -> Section:
    section = Section("Cell types", notes=["Cells by type and batch of each data set."])
    for name, folder in stores.items():
        cells = pd.read_parquet(Path(folder, "cells.parquet"))
        counts = pd.crosstab(cells["cell_type"], cells["batch"]).reset_index()
        counts.columns = pd.Index(["cell type", *map(str, counts.columns[1:])])
        section.frames.append(frame_of(counts, f"{name}: {len(cells):,} cells"))
    return section


def _sources_section(agreements: Mapping[str, str], confusions: Mapping[str, str]) -> Section:
    section = Section("Label sources")
    if not agreements:
        section.notes.append("The labels have one source only: nothing to compare.")
        return section
    section.notes.append(
        "How far label sources agree about the same cells, and the largest differences. A"
        " prediction that agrees with one source better than the sources do with each other cannot"
        " be told from the noise of the labels: read annotation scores against this ceiling."
    )
    for name, path in agreements.items():
        section.frames.append(frame_of(AGREEMENT.read(path), f"{name}: agreement"))
        pairs = CONFUSION.read(confusions[name])
        apart = pairs[pairs["type_one"] != pairs["type_other"]]
        largest = apart.sort_values("n_cells", ascending=False, kind="stable").head(N_DIFFERENCES)
        section.frames.append(frame_of(largest, f"{name}: largest differences"))
    return section


def _training_section(models: Mapping[str, str]) -> Section:
    section = Section("Training")
    histories = {}
    for name, folder in models.items():
        text = Path(folder, "history.jsonl").read_text()
        histories[name] = pd.DataFrame([json.loads(line) for line in text.splitlines()])
    last = [
        {"model": name, **history.iloc[-1].to_dict()}
        for name, history in histories.items()
        if len(history)
    ]
    if histories:
        section.images.append(_curves(histories))
        section.frames.append(frame_of(pd.DataFrame(last), "Last epoch of each model"))
    return section


def _curves(histories: Mapping[str, pd.DataFrame]) -> Image:
    from matplotlib.figure import Figure

    n_columns = 4
    n_rows = -(-len(histories) // n_columns)
    figure = Figure(figsize=(3 * n_columns, 2.3 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes, (name, history) in zip(panels, histories.items(), strict=False):
        for column in (name for name in CURVES if name in history):
            axes.plot(np.arange(1, len(history) + 1), history[column], label=str(column))
        axes.set_title(name, fontsize=7)
        axes.tick_params(labelsize=6)
        axes.legend(fontsize=6, frameon=False)
    for axes in panels[len(histories) :]:
        axes.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Image("Loss by epoch: training and validation cells.", data)


def _recovery_section(path: str | None) -> Section:
    if path is None:
        return Section("Recovery", notes=["The data are real: no truth is planted."])
    frame = frame_of(pd.read_csv(path, sep="\t", keep_default_na=False), "Planted truth recovered")
    return Section("Recovery", frames=[frame])


def _run_time_section(folder: Path) -> Section:
    rows = []
    for path in sorted(folder.glob("**/*.tsv")):
        table = pd.read_csv(path, sep="\t", na_values="-")
        rows.append(
            {
                "rule": path.relative_to(folder).parts[0],
                "seconds": float(table["s"].max()),
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
            "largest memory (MiB)": times["memory"].max(),
        }
    ).reset_index()
    ordered = summary.sort_values("seconds in all", ascending=False)
    return Section("Run time", frames=[frame_of(ordered, "By rule, where it is measured")])


def _versions() -> Frame:
    rows = []
    for name in LIBRARIES:
        try:
            rows.append([name, version(name)])
        except PackageNotFoundError:
            rows.append([name, "not installed"])
    return Frame("Libraries", ["name", "version"], rows)


def _body(path: str) -> str:
    text = Path(path).read_text(encoding="utf-8")
    return text.partition("<body>")[2].partition("</body>")[0]


def _image(path: str, caption: str) -> Image:
    return Image(caption, base64.b64encode(Path(path).read_bytes()).decode())
