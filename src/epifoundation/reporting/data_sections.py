"""The report's sections about the data: samples, quality, peaks and labels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from epifoundation.contracts import (
    AGREEMENT,
    CONFUSION,
    LABELS,
    PEAK_SUMMARY,
    QC_ALTERNATIVES,
    QC_FUNNEL,
    SATURATED,
)
from epifoundation.reporting.sections import Section, frame_of

N_DIFFERENCES = 15  # between label sources, of an atlas


def samples_section(samples: Sequence[Mapping[str, str]]) -> Section:
    """Return the sample sheet."""
    shown = ["sample", "atlas", "role", "dataset", "tissue", "batch", "donor", "entry", "caution"]
    sheet = pd.DataFrame([{name: row[name] for name in shown} for row in samples])
    return Section("Samples", frames=[frame_of(sheet, "Sample sheet")])


def quality_section(funnels: Mapping[str, str], alternatives: Mapping[str, str]) -> Section:
    """Return how many barcodes pass each criterion, by sample, and under other definitions."""
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


def peaks_section(paths: Mapping[str, str]) -> Section:
    """Return what was called, by atlas; a warning where calls are saturated."""
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


def labels_section(stores: Mapping[str, str], labels: Mapping[str, str]) -> Section:
    """Return cells by type and batch of each data set, and how sure the labels are."""
    section = Section("Cell types", notes=["Cells by type and batch of each data set."])
    for name, folder in stores.items():
        cells = pd.read_parquet(Path(folder, "cells.parquet"))
        counts = pd.crosstab(cells["cell_type"], cells["batch"]).reset_index()
        columns = ["cell type", *map(str, counts.columns[1:])]
        frame = frame_of(counts, f"{name}: {len(cells):,} cells")
        section.frames.append(replace(frame, columns=columns))  # batches as they are written
    if not labels:
        section.notes.append("The labels came with the files: they have no scores.")
        return section
    section.notes.append(
        "Labels: correlation of the cells' cluster with the profile of its type, and how far ahead"
        " of the runner-up it is. A small margin is a guess between two types."
    )
    section.frames.append(frame_of(label_scores(labels), "Labels by sample and type"))
    return section


def label_scores(paths: Mapping[str, str]) -> pd.DataFrame:
    """Return cells, clusters, score, margin and runner-up of each type of each sample."""
    rows = []
    for name, path in paths.items():
        table = LABELS.read(path)
        for cell_type, group in table.groupby("cell_type", sort=True):
            runners_up = group["runner_up"].value_counts()
            rows.append(
                {
                    "sample": name,
                    "cell type": str(cell_type),
                    "cells": len(group),
                    "clusters": group["cluster"].nunique(),
                    "score": group["score"].median(),
                    "margin": group["margin"].median(),
                    "runner-up": str(runners_up.index[0]) if len(runners_up) else "",
                }
            )
    return pd.DataFrame(rows)


def sources_section(agreements: Mapping[str, str], confusions: Mapping[str, str]) -> Section:
    """Return how far label sources agree, by atlas."""
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
