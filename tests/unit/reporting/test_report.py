"""The report: every part of a run on one page that needs nothing else."""

import base64
import json
import re

import pandas as pd
import pytest

from epifoundation.contracts import PEAK_SUMMARY, QC_ALTERNATIVES
from epifoundation.data.criteria import qc_alternatives
from epifoundation.reporting.report import ReportFiles, write_report

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FIELDS = ("sample", "atlas", "role", "dataset", "tissue", "batch", "donor", "entry", "caution")
SAMPLE = {name: name.upper() for name in FIELDS}


def write_tsv(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, sep="\t", index=False)
    return str(path)


def peak_summary(path):
    numbers = {name: [0] for name, dtype in PEAK_SUMMARY.dtypes.items() if dtype == "int64"}
    numbers |= {"n_kept": [5678], "occupancy_in_peaks": [0.87], "occupancy_outside": [0.05]}
    return write_tsv(path, call=["pooled"], **numbers)


@pytest.fixture
def files(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    cells = pd.DataFrame({"cell_type": ["T", "T", "B"], "batch": ["b1", "b2", "b1"]})
    cells.to_parquet(store / "cells.parquet")
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
    return ReportFiles(
        funnels={"mini one": funnel},
        alternatives={"mini one": str(tmp_path / "alternatives.tsv")},
        peaks={"mini": peak_summary(tmp_path / "peaks.tsv")},
        stores={"mini Kidney": str(store)},
        agreements={"mini": str(tmp_path / "agreement.tsv")},
        confusions={"mini": str(tmp_path / "confusion.tsv")},
        models={"mini pretraining": str(model)},
        tables=[str(tmp_path / "table1.html")],
        figures={"mini, figure 1": str(tmp_path / "figure1.png")},
        recovery=write_tsv(tmp_path / "recovery.tsv", what=["cells <called>"], value=[0.99]),
        benchmarks=tmp_path / "benchmarks",
    )


def test_everything_is_on_one_page(files, tmp_path):
    write_report(
        files, [SAMPLE], {"results_dir": "results", "model": {"d_model": 64}}, tmp_path / "r.html"
    )
    page = (tmp_path / "r.html").read_text()
    for text in ("TISSUE", "1,204", "812", "5,678", "3 cells", "Table 1", "61.5", "d_model: 64"):
        assert text in page
    assert "cells &lt;called&gt;" in page
    assert "min_rna_umis not applied: no limit is set (mini one)." in page
    assert "4,321" in page
    assert "0.8765" in page
    assert "pericyte" in page
    assert page.count("data:image/png;base64,") == 2  # the figure and the training curves
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)


def test_real_data_have_no_planted_truth(files, tmp_path):
    from dataclasses import replace

    write_report(replace(files, recovery=None), [SAMPLE], {"results_dir": "r"}, tmp_path / "r.html")
    assert "no truth is planted" in (tmp_path / "r.html").read_text()
