"""What tests of the report share: the files of a small run."""

import base64
import json

import pandas as pd
import pytest

from epifoundation.contracts import COMPARISONS, LABELS, METRICS, PEAK_SUMMARY, QC_ALTERNATIVES
from epifoundation.data.criteria import qc_alternatives
from epifoundation.reporting.report import ReportFiles

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FIELDS = ("sample", "atlas", "role", "dataset", "tissue", "batch", "donor", "entry", "caution")


@pytest.fixture
def sample():
    """A row of the sample sheet."""
    return {name: name.upper() for name in FIELDS}


def write_tsv(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, sep="\t", index=False)
    return str(path)


def peak_summary(path):
    numbers = {name: [0] for name, dtype in PEAK_SUMMARY.dtypes.items() if dtype == "int64"}
    numbers |= {"n_kept": [5678], "occupancy_in_peaks": [0.87], "occupancy_outside": [0.05]}
    return write_tsv(path, call=["pooled"], **numbers)


@pytest.fixture
def report_files(tmp_path):
    """Files of every part of the report."""
    store = tmp_path / "store"
    store.mkdir()
    cells = pd.DataFrame({"cell_type": ["T", "T", "B"], "batch": ["b1", "b2", "b1"]})
    cells.to_parquet(store / "cells.parquet")
    (store / "meta.json").write_text('{"vocabulary_hash": "737b4963"}')
    model = tmp_path / "model"
    model.mkdir()
    lines = [json.dumps({"epoch": e, "loss": 1 / e, "validation_loss": 2 / e}) for e in (1, 2)]
    (model / "history.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "table1.html").write_text("<html><body><h3>Table 1</h3></body></html>")
    (tmp_path / "figure1.png").write_bytes(PIXEL)
    write_tsv(tmp_path / "benchmarks" / "count" / "a.tsv", s=[61.5], max_rss=["-"])
    funnel = write_tsv(
        tmp_path / "funnel.tsv",
        criterion=["start", "min_rna_umis"],
        n_barcodes=[1204, 812],
        n_removed=[0, 392],
        note=["", "not applied: no limit is set"],
    )
    alternatives = qc_alternatives(pd.DataFrame({"barcode": ["A", "B"]}), None)
    alternatives.loc[0, "n_cells_used"] = 4321
    QC_ALTERNATIVES.write(alternatives, tmp_path / "alternatives.tsv")
    pair = {"dataset": ["Kidney"] * 2, "one": ["disco_wnn"] * 2, "other": ["disco_rna"] * 2}
    write_tsv(
        tmp_path / "agreement.tsv",
        **{name: values[:1] for name, values in pair.items()},
        **{"n_cells": [97], "n_types_one": [2], "n_types_other": [2]},
        **{"ari": [0.8765], "nmi": [0.9], "agreement": [0.95]},
    )
    write_tsv(
        tmp_path / "confusion.tsv",
        **pair,
        **{"type_one": ["podocyte"] * 2, "type_other": ["podocyte", "pericyte"]},
        **{"n_cells": [90, 7], "share": [0.92, 0.08]},
    )
    common = {"atlas": "mini", "dataset": "Kidney", "protocol": "paper"}
    number = {**common, "task": "annotation", "metric": "macro_f1", "seed": 0, "n_cells": 97}
    number |= {"n_donors": 2, "n_types": 2, "low": 0.2, "high": 0.4, "fit_on": "fit"}
    number |= {"labels_seen": "train", "label_source": "disco_wnn", "input_hash": "abcdef"}
    values = {"epifoundation": 0.3, "majority": 0.1, "lsi_logistic": 0.2, "scanvi": None}
    rows = [
        {**number, "method": method, "value": value, "note": "" if value else "out of memory"}
        for method, value in values.items()
    ]
    METRICS.write(pd.DataFrame(rows).astype({"value": float}), tmp_path / "metrics.tsv")
    difference = {**common, "task": "annotation", "method": "majority", "metric": "macro_f1"}
    difference |= {"drawn": "cells", "seed": "0", "epifoundation": 0.3, "other": 0.1}
    difference |= {"difference": 0.2, "low": 0.1, "high": 0.3, "better": "EpiFoundation"}
    difference |= {"n_drawn": 97, "note": "few cells tell little"}
    COMPARISONS.write(pd.DataFrame([difference]), tmp_path / "comparisons.tsv")
    label = {"barcode": ["a", "b"], "cluster": ["0", "0"], "cell_type": ["podocyte"] * 2}
    label |= {"score": [0.7, 0.7], "margin": [0.0123, 0.0123], "runner_up": ["pericyte"] * 2}
    LABELS.write(pd.DataFrame({**label, "cell_ontology_id": [""] * 2}), tmp_path / "labels.tsv")
    return ReportFiles(
        funnels={"mini one": funnel},
        alternatives={"mini one": str(tmp_path / "alternatives.tsv")},
        peaks={"mini": peak_summary(tmp_path / "peaks.tsv")},
        stores={"mini Kidney": str(store)},
        labels={"mini one": str(tmp_path / "labels.tsv")},
        agreements={"mini": str(tmp_path / "agreement.tsv")},
        confusions={"mini": str(tmp_path / "confusion.tsv")},
        models={"mini pretraining": str(model)},
        tables=[str(tmp_path / "table1.html")],
        figures={"mini figure1": str(tmp_path / "figure1.png")},
        metrics=str(tmp_path / "metrics.tsv"),
        comparisons=str(tmp_path / "comparisons.tsv"),
        recovery=write_tsv(tmp_path / "recovery.tsv", what=["cells <called>"], value=[0.99]),
        benchmarks=tmp_path / "benchmarks",
    )
