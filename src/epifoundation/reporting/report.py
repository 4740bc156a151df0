"""The report: one self-contained page about a run, from its files."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import yaml

from epifoundation.files import whole
from epifoundation.reporting.data_sections import (
    labels_section,
    peaks_section,
    quality_section,
    samples_section,
    sources_section,
)
from epifoundation.reporting.formats import part_of_page
from epifoundation.reporting.sections import Frame, Image, Section, frame_of

LIBRARIES = ("epifoundation", "torch", "scanpy", "anndata", "scvi-tools", "scikit-learn")
CURVES = ("loss", "validation_loss")


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
        samples_section(samples),
        quality_section(files.funnels, files.alternatives),
        peaks_section(files.peaks),
        labels_section(files.stores),
        sources_section(files.agreements, files.confusions),
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
        style=part_of_page("page.css"),
        summary=f"{len(samples)} samples, results in {settings['results_dir']}.",
        sections=sections,
    )
    with whole(output) as partial:
        partial.write_text(page, encoding="utf-8")


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
