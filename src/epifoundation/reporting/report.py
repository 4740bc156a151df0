"""The report: one self-contained page about a run, from its files."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd

from epifoundation.contracts import METRICS
from epifoundation.files import whole
from epifoundation.reporting.captions import caption_of
from epifoundation.reporting.data_sections import (
    labels_section,
    peaks_section,
    quality_section,
    samples_section,
    sources_section,
)
from epifoundation.reporting.formats import part_of_page
from epifoundation.reporting.run_sections import (
    comparisons_section,
    configuration_section,
    missing_section,
    run_time_section,
    short_section,
    versions_section,
)
from epifoundation.reporting.sections import Image, Section, frame_of

PIXELS_PER_PIXEL = 2  # of a figure to one of the page: sharp on phones, all figures of one scale


@dataclass(frozen=True)
class ReportFiles:
    """What the report reads; mappings go from a caption to a path."""

    funnels: Mapping[str, str]  # QC_FUNNEL by sample
    alternatives: Mapping[str, str]  # QC_ALTERNATIVES by sample
    peaks: Mapping[str, str]  # summary by atlas
    stores: Mapping[str, str]  # token store by atlas and data set
    labels: Mapping[str, str]  # LABELS by sample, where they are made here
    agreements: Mapping[str, str]  # AGREEMENT of label sources by atlas
    confusions: Mapping[str, str]  # CONFUSION likewise
    models: Mapping[str, str]  # model directory by what it learned
    tables: Sequence[str]  # table{1..5}.html
    figures: Mapping[str, str]  # PNG by atlas and name of the figure
    metrics: str  # METRICS
    comparisons: str | None  # COMPARISONS
    recovery: str | None
    benchmarks: Path  # folder of Snakemake's benchmark files


def write_report(
    files: ReportFiles,
    samples: Sequence[Mapping[str, str]],
    settings: Mapping[str, object],
    output: Path | str,
) -> None:
    """Write the page; `samples` are rows of the sample sheet, `settings` the configuration."""
    metrics = METRICS.read(files.metrics)
    sections = [
        short_section(metrics),
        samples_section(samples),
        quality_section(files.funnels, files.alternatives),
        peaks_section(files.peaks),
        labels_section(files.stores, files.labels),
        sources_section(files.agreements, files.confusions),
        _training_section(files.models),
        Section("Tables", fragments=[_body(path) for path in files.tables]),
        comparisons_section(files.comparisons),
        Section("Figures", images=[_image(path, name) for name, path in files.figures.items()]),
        missing_section(metrics),
        _recovery_section(files.recovery),
        run_time_section(files.benchmarks),
        versions_section(),
        configuration_section(settings, files.metrics, files.stores, metrics),
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report_template.html").render(
        style=part_of_page("page.css"),
        script=part_of_page("page.js"),
        summary=f"{len(samples)} samples, results in {settings['results_dir']}.",
        sections=sections,
    )
    with whole(output) as partial:
        partial.write_text(page, encoding="utf-8")


def _training_section(models: Mapping[str, str]) -> Section:
    section = Section("Training")
    if not models:
        section.notes.append("No model was trained.")
        return section
    last = []
    for name, folder in models.items():
        lines = Path(folder, "history.jsonl").read_text().splitlines()
        if lines:
            last.append({"model": name, "epochs": len(lines), **json.loads(lines[-1])})
        else:
            section.notes.append(f"{name}: not trained, taken as it was given.")
    if last:
        section.notes.append("Curves of every epoch are among the figures.")
        table = pd.DataFrame(last).drop(columns="epoch", errors="ignore")
        section.frames.append(frame_of(table, "Last epoch of each model"))
    return section


def _recovery_section(path: str | None) -> Section:
    if path is None:
        return Section("Recovery", notes=["The data are real: no truth is planted."])
    frame = frame_of(pd.read_csv(path, sep="\t", keep_default_na=False), "Planted truth recovered")
    return Section("Recovery", frames=[frame])


def _body(path: str) -> str:
    """Return what a page of tables shows, without its scripts."""
    text = Path(path).read_text(encoding="utf-8")
    return text.partition("<body>")[2].partition("<script>")[0].partition("</body>")[0]


def _image(path: str, name: str) -> Image:
    atlas, _, figure = name.rpartition(" ")
    content = Path(path).read_bytes()
    wide = int.from_bytes(content[16:20], "big")  # where a PNG has its width
    data = base64.b64encode(content).decode()
    return Image(f"{atlas}: {caption_of(figure)}", data, max(wide // PIXELS_PER_PIXEL, 1))
