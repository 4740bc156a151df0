"""Tables: numbers beside the printed ones, verdicts, reasons, and the same bytes every time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from epifoundation.contracts import METRICS
from epifoundation.reporting import printed
from epifoundation.reporting.layouts import LAYOUTS
from epifoundation.reporting.page import lay_out, lay_out_settings, to_markdown, write_table
from epifoundation.reporting.tables import result_table, settings_table, verdict

FORMATS = ("tsv", "md", "tex", "html")


def row(task, method, metric, value, *, dataset="Kidney", seed=0, labels="train", note=""):
    return {
        "atlas": "mini",
        "dataset": dataset,
        "protocol": "paper",
        "task": task,
        "method": method,
        "seed": seed,
        "metric": metric,
        "value": value,
        "n_cells": 1234,
        "fit_on": "fit",
        "labels_seen": labels,
        "label_source": "disco_wnn",
        "note": note,
    }


@pytest.fixture
def metrics():
    rows = [
        row("integration", "epifoundation", "nmi", 0.5700),
        row("integration", "scanvi", "nmi", 0.6000, labels="test"),
        row("integration", "pca", "nmi", 0.3000, labels="none"),
        row("integration", "random", "nmi", 0.9000, labels="none"),
        row("integration", "harmony", "nmi", 0.2000, labels="none"),
        row("integration", "liger", "nmi", np.nan, labels="none", note="environment missing"),
        row("expression", "gene_mean", "mse", 5.0),
        row("expression", "epifoundation", "mse", 7.6),
        row("ablation", "epifoundation", "nmi", 0.57),
        row("ablation", "epifoundation_no_batch", "nmi", 0.40),
    ]
    table = pd.DataFrame(rows)
    METRICS.check(table, "these metrics")
    return table


def cell(table, method):
    return table[table["method"] == method].iloc[0]


def test_numbers_stand_beside_the_printed_ones(metrics):
    table = result_table(metrics, LAYOUTS[1], comparable=True)
    ours = cell(table, "epifoundation")
    assert ours["printed"] == 0.5681
    assert ours["difference"] == pytest.approx(0.0019)
    assert ours["verdict"] == "reproduced"
    assert cell(table, "scanvi")["verdict"] == "comparable"
    assert cell(table, "random")["verdict"] == "not printed"


def test_other_data_are_not_comparable(metrics):
    table = result_table(metrics, LAYOUTS[1], comparable=False)
    assert set(table["verdict"]) == {"not comparable", "not printed"}


def test_best_within_a_block_and_no_method_without_a_method(metrics):
    table = result_table(metrics, LAYOUTS[1], comparable=True)
    assert list(table.loc[table["best"], "method"]) == ["pca", "scanvi"]
    assert list(table["method"]) == [
        "pca", "harmony", "liger", "random", "scanvi", "epifoundation",
    ]  # fmt: skip


def test_the_smallest_error_is_best(metrics):
    table = result_table(metrics, LAYOUTS[3], comparable=True)
    assert list(table.loc[table["best"], "method"]) == ["gene_mean"]


def test_seeds_are_averaged(metrics):
    second = metrics.assign(seed=1, value=metrics["value"] + 0.1)
    table = result_table(pd.concat([metrics, second]), LAYOUTS[4], comparable=True)
    ours = cell(table, "epifoundation")
    assert ours["value"] == pytest.approx(0.62)
    assert ours["deviation"] == pytest.approx(0.1 / np.sqrt(2))
    assert ours["n_seeds"] == 2


def test_an_empty_cell_says_why(metrics):
    layout = LAYOUTS[1]
    text = to_markdown(lay_out(result_table(metrics, layout, comparable=True), layout))
    assert "| — (2)<br>0.0942 |" in text
    assert "- (1) not scored\n- (2) environment missing\n" in text
    assert "**0.6000**<br>0.2007 (+0.3993)" in text


def test_an_atlas_without_the_comparison_has_a_table(metrics):
    layout = LAYOUTS[2]
    page = lay_out(result_table(metrics, layout, comparable=True), layout)
    assert page.rows == []
    assert "No data set of this atlas is part of this comparison." in page.remarks


def test_tables_are_the_same_bytes_every_time(metrics, tmp_path):
    layout = LAYOUTS[1]
    for run in ("first", "second"):
        table = result_table(metrics, layout, comparable=True)
        paths = {name: str(tmp_path / run / f"table1.{name}") for name in FORMATS}
        write_table(table, lay_out(table, layout), paths)
    for name in FORMATS:
        first, second = (tmp_path / run / f"table1.{name}" for run in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
    assert Path(paths["html"]).read_text().startswith("<!doctype html>")
    assert r"\textbf{0.6000}" in Path(paths["tex"]).read_text()


@pytest.mark.parametrize(
    ("value", "number", "metric", "expected"),
    [
        (0.519, 0.5, "nmi", "reproduced"),
        (0.53, 0.5, "nmi", "comparable"),
        (10.1, 10.0, "mse", "reproduced"),
        (10.3, 10.0, "mse", "comparable"),
        (np.nan, 0.5, "nmi", "not comparable"),
        (0.5, np.nan, "nmi", "not printed"),
    ],
)
def test_verdict(value, number, metric, expected):
    assert verdict(value, number, metric, comparable=True) == expected


def test_settings_beside_the_papers(root):
    import yaml

    config = yaml.safe_load((root / "config.yaml").read_text())
    table = settings_table({name: config[name] for name in ("model", "pretrain")})
    assert set(table["verdict"]) == {"same", "not printed"}
    assert (table["verdict"] == "same").sum() == len(printed.TABLE_5) + len(printed.TABLE_5_FIXED)
    assert "| model | Embedding dim | 512 | 512 | same |" in to_markdown(lay_out_settings(table))


def test_printed_tables_are_complete():
    for layout in LAYOUTS.values():
        n_printed = len(printed.INTEGRATION_COLUMNS) if layout.number == 1 else len(layout.metrics)
        for methods in layout.printed.values():
            assert all(len(numbers) == n_printed for numbers in methods.values())
    assert {len(printed.TABLE_1[name]) for name in printed.TABLE_1} == {5}
    assert set(printed.TABLE_2) == set(printed.TABLE_3)
