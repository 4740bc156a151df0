"""Tables: numbers beside the printed ones, verdicts, reasons, and the same bytes every time."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from epifoundation.contracts import AGREEMENT, METRICS
from epifoundation.evaluation.baselines import ANNOTATION, EXPRESSION, INTEGRATION
from epifoundation.reporting import printed
from epifoundation.reporting.formats import to_html, to_latex, to_markdown, write_table
from epifoundation.reporting.layouts import LAYOUTS
from epifoundation.reporting.names import METHOD_NAMES, direction, metric_name
from epifoundation.reporting.page import lay_out, lay_out_settings
from epifoundation.reporting.settings import optimizers, settings_table
from epifoundation.reporting.tables import COLUMNS, result_table, verdict

FORMATS = ("tsv", "md", "tex", "html")
NAN = np.nan


def row(task, method, metric, value, **others):
    return {
        "atlas": "mini",
        "dataset": "Kidney",
        "protocol": "paper",
        "task": task,
        "method": method,
        "seed": 0,
        "metric": metric,
        "n_cells": 1234,
        "n_donors": 3,
        "n_types": 7,
        "value": value,
        "low": NAN,
        "high": NAN,
        "fit_on": "fit",
        "labels_seen": "train",
        "label_source": "disco_wnn",
        "note": "",
        "input_hash": "0123456789abcdef",
        **others,
    }


@pytest.fixture
def metrics():
    free = {"labels_seen": "none"}
    rows = [
        row("integration", "epifoundation", "nmi", 0.57, low=0.5512, high=0.5934),
        row("integration", "scanvi", "nmi", 0.6000, labels_seen="test"),
        row("integration", "pca", "nmi", 0.3000, **free),
        row("integration", "random", "nmi", 0.9000, **free),
        row("integration", "harmony", "nmi", 0.2000, **free),
        row("integration", "liger", "nmi", NAN, note="environment missing", **free),
        row("integration", "pca", "ilisi", 0.4, **free),
        row("annotation", "epifoundation", "accuracy", 0.8),
        row("annotation", "majority", "accuracy", 0.3),
        row("annotation", "epifoundation", "f1:T cell", 0.7, n_cells=41),
        row("annotation", "majority", "f1:T cell", 0.0, n_cells=41),
        row("annotation", "epifoundation", "accuracy", 0.6, protocol="donor_held_out"),
        row("expression", "gene_mean", "mse", 5.0),
        row("expression", "epifoundation", "mse", 7.6),
        row("expression", "epifoundation", "mse_balanced", 9.1),
        row("expression", "gene_mean", "mse_balanced", 8.1),
        row("expression", "a_new_method", "a_new_metric", 1.5),
        row("ablation", "epifoundation", "nmi", 0.57),
        row("ablation", "epifoundation_no_batch", "nmi", 0.40),
        row("ablation", "epifoundation", "f1:T cell", 0.7),
        row("ablation", "epifoundation_no_batch", "f1:T cell", 0.6),
        row("ablation", "epifoundation_no_batch", "accuracy:depth_low", 0.6),
        row("ablation", "epifoundation", "tissue_accuracy", 0.9, n_donors=0, input_hash=""),
    ]
    table = pd.DataFrame(rows)
    METRICS.check(table, "these metrics")
    return table


@pytest.fixture
def agreement():
    table = pd.DataFrame(
        {
            "dataset": ["Kidney"],
            "one": ["disco_wnn"],
            "other": ["disco_rna"],
            "n_cells": [97],
            "n_types_one": [5],
            "n_types_other": [6],
            "ari": [0.81],
            "nmi": [0.82],
            "agreement": [0.8765],
        }
    )
    AGREEMENT.check(table, "this agreement")
    return table


def result(metrics, number, **options):
    return result_table(metrics, LAYOUTS[number], **{"comparable": True, **options})


def page(metrics, number, **options):
    return lay_out(result(metrics, number, **options), LAYOUTS[number])


def cell(table, method):
    return table[table["method"] == method].iloc[0]


def grid(page, title):
    (found,) = (grid for grid in page.grids if title in grid.title)
    return found


def test_numbers_stand_beside_the_printed_ones(metrics):
    table = result(metrics, 1)
    ours = cell(table, "epifoundation")
    assert ours["printed"] == 0.5681
    assert ours["difference"] == pytest.approx(0.0019)
    assert ours["verdict"] == "reproduced"
    assert cell(table, "scanvi")["verdict"] == "comparable"
    assert cell(table, "random")["verdict"] == "not printed"


def test_every_number_says_what_it_rests_on(metrics):
    for number in LAYOUTS:
        table = result(metrics, number)
        assert list(table.columns) == list(COLUMNS)
        for name in ("n_cells", "n_donors", "n_types", "seeds", "label_source"):
            assert (table[name].astype(str).str.len() > 0).all(), (number, name)
            assert table[name].notna().all(), (number, name)
    text = to_markdown(page(metrics, 1))
    assert "0.5512 to 0.5934<br>paper 0.5681 (+0.0019)" in text
    assert "| 1,234 | 3 | 7 | 0 | fit | train | disco\\_wnn | 01234567 |" in text


@pytest.mark.parametrize(
    "change",
    [
        {"comparable": False},
        {"protocol": "donor_held_out"},
        {"label_source": "disco_rna"},
    ],
)
def test_other_data_protocols_and_labels_are_not_comparable(metrics, change):
    comparable = change.pop("comparable", True)
    table = result(metrics.assign(**change), 1, comparable=comparable)
    assert set(table["verdict"]) == {"not comparable", "not printed"}


def test_best_within_a_block_and_no_method_without_a_method(metrics):
    table = result(metrics, 1)
    shown = table[table["metric"] == "nmi"]
    assert list(shown.loc[shown["best"], "method"]) == ["pca", "scanvi"]
    free = ["pca", "harmony", "liger", "random"]
    assert list(shown["method"]) == [*free, "scanvi", "epifoundation", "random"]


def test_the_smallest_error_is_best(metrics):
    table = result(metrics, 3)
    assert list(table.loc[table["best"], "method"]) == ["gene_mean", "gene_mean"]


def test_equals_have_no_best(metrics):
    assert not result(metrics.assign(value=0.5), 1)["best"].any()


def test_seeds_are_averaged(metrics):
    second = metrics.assign(seed=1, value=metrics["value"] + 0.1, n_donors=4)
    ours = cell(result(pd.concat([metrics, second]), 4), "epifoundation")
    assert ours["value"] == pytest.approx(0.62)
    assert ours["deviation"] == pytest.approx(0.1 / np.sqrt(2))
    assert (ours["n_seeds"], ours["seeds"], ours["n_donors"]) == (2, "0,1", "3-4")


def test_a_seed_without_a_value_is_not_counted_but_named(metrics):
    failed = metrics.assign(seed=1, value=NAN, note="out of memory", n_cells=0)
    third = metrics.assign(seed=2, n_cells=1240)
    table = result(pd.concat([metrics, failed, third]), 1)
    ours = cell(table, "epifoundation")
    assert (ours["n_seeds"], ours["seeds"], ours["n_cells"]) == (2, "0,2", "1234-1240")
    assert ours["note"] == "out of memory; no value of seed 1"
    never = cell(table, "liger")
    assert (never["n_seeds"], never["seeds"]) == (3, "0,1,2")
    assert "no value" not in never["note"]


def test_every_method_has_a_name_and_every_name_a_method():
    beside = {name for name in METHOD_NAMES if not name.startswith("epifoundation")}
    assert beside == {*INTEGRATION, *ANNOTATION, *EXPRESSION}


def test_an_empty_cell_says_why(metrics):
    text = to_markdown(page(metrics, 1))
    assert "| — (2)<br>paper 0.0942 |" in text
    assert "- (1) this method was not scored with this metric here\n" in text
    assert "- (2) environment missing\n" in text
    assert "**0.6000**<br>paper 0.2007 (+0.3993)" in text


def test_an_interval_is_promised_only_where_there_is_one(metrics):
    said = {number: page(metrics, number).remarks[0] for number in LAYOUTS}
    promised = {number for number, remark in said.items() if "95 % interval" in remark}
    assert promised == {2, 3, 4}
    assert "where it scores predictions" in said[4]
    embedded = {number for number, remark in said.items() if "not resampled" in remark}
    assert embedded == {1, 4}


def test_what_is_to_be_known_of_a_number_is_said_once(metrics):
    nmi = (metrics["task"] == "integration") & (metrics["metric"] == "nmi")
    metrics.loc[nmi & metrics["value"].notna(), "note"] = "seven types"
    metrics.loc[nmi & (metrics["method"] == "pca"), "note"] = "resolution 0.2"
    remarks = page(metrics, 1).remarks
    assert "Kidney NMI (PCA): resolution 0.2." in remarks
    (shared,) = (remark for remark in remarks if "seven types" in remark)
    assert shared.startswith("Kidney NMI (Harmony, Random embedding, scANVI, EpiFoundation)")


def test_no_cell_is_blank_without_a_reason(metrics, agreement):
    for number in LAYOUTS:
        for part in page(metrics, number, agreements={"mini": agreement}).grids:
            assert all(len(cells) == len(part.header) for cells in part.rows)
            blank = [c for cells in part.rows for c in cells if not (c.text or c.reason)]
            assert not blank, part.title


def test_sources_of_labels_stand_before_the_annotation(metrics, agreement):
    made = page(metrics, 2, agreements={"mini": agreement})
    assert [part.title[:8] for part in made.grids[:2]] == ["Table 2a", "Table 2,"]
    assert "0.8765" in to_markdown(made)
    table = result(metrics, 2, agreements={"mini": agreement})
    assert cell(table, "disco_wnn and disco_rna")["value"] == 0.8765
    assert list(table.columns) == list(COLUMNS)


def test_each_protocol_has_its_own_block_the_papers_first(metrics):
    held_out_first = metrics.sort_values("protocol", kind="stable")
    titles = [part.title for part in page(held_out_first, 2).grids]
    assert "Table 2, protocol paper (random cells, as in the paper)" in titles[0]
    assert "Table 2, protocol donor_held_out (whole donors held out)" in titles[1]


def test_types_have_rows_with_their_support(metrics):
    part = grid(page(metrics, 2), "Table 2c, F1 ↑ by group")
    assert part.header[2:] == ["Group", "Test cells", "Majority class", "EpiFoundation"]
    assert [c.text for c in part.rows[0]] == ["mini", "Kidney", "T cell", "41", "0.0000", "0.7000"]
    assert part.rows[0][-1].bold


def test_thirds_by_depth_are_called_so(metrics):
    (cells,) = grid(page(metrics, 4), "Table 4c, ACC").rows
    assert cells[2].text == "third with the fewest open peaks"


def test_metrics_and_methods_without_a_name_are_shown_by_their_key(metrics):
    part = grid(page(metrics, 3), "Table 3b")
    assert {"MSE, balanced ↓", "a new metric"} <= set(part.header)
    assert "a new method" in [c.text for cells in part.rows for c in cells]
    assert metric_name("pearson_within_type") == "PRCC, within type"
    assert metric_name("mse_log") == "MSE, log target"
    assert [direction(name) for name in ("mse_log", "f1:B", "who_knows", "tissue_accuracy")] == [
        -1, 1, 0, 0,
    ]  # fmt: skip


def test_what_an_ablation_loses_stands_beside_the_deviation_of_seeds(metrics):
    second = metrics.assign(seed=1)
    no_batch = second["method"] == "epifoundation_no_batch"
    second.loc[no_batch, "value"] += 0.02
    made = page(pd.concat([metrics, second]), 4)
    (cells,) = grid(made, "Table 4d").rows
    assert grid(made, "Table 4d").header[3:] == ["NMI", "Seeds"]
    assert cells[2].text == METHOD_NAMES["epifoundation_no_batch"]
    assert cells[3].text == "+0.1600 ± 0.0141"
    assert cells[3].details == ("paper +0.1327, 9.4 of our deviations",)
    assert "In the atlas a batch is a tissue" in to_markdown(made)
    assert "can be said from 3 on" in to_markdown(made)
    third = metrics.assign(seed=2)
    assert "can be said" not in to_markdown(page(pd.concat([metrics, second, third]), 4))


def test_an_atlas_without_the_comparison_has_a_table(metrics):
    made = page(metrics[metrics["task"] != "annotation"], 2)
    assert made.grids == []
    assert "No data set of this atlas is part of this comparison." in made.remarks
    for text in (to_markdown(made), to_latex(made), to_html(made)):
        assert "No data set of this atlas" in text


def test_tables_are_the_same_bytes_every_time(metrics, tmp_path):
    for run in ("first", "second"):
        table = result(metrics, 1)
        paths = {name: str(tmp_path / run / f"table1.{name}") for name in FORMATS}
        write_table(table, lay_out(table, LAYOUTS[1]), paths)
    for name in FORMATS:
        first, second = (tmp_path / run / f"table1.{name}" for run in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
    assert Path(paths["html"]).read_text().startswith("<!doctype html>")
    assert r"\textbf{0.6000}" in Path(paths["tex"]).read_text()


def test_every_format_shows_special_characters_as_they_are(metrics, tmp_path):
    odd = r"a_b & 50 % <i>*c*</i> | d \ {e} ~f^g $h #i"
    odd_metrics = metrics.assign(dataset=odd, label_source="x\ty")
    odd_metrics.loc[odd_metrics["method"] == "liger", "note"] = "first\nsecond | third"
    paths = {name: str(tmp_path / f"t.{name}") for name in FORMATS}
    table = result(odd_metrics, 1)
    write_table(table, lay_out(table, LAYOUTS[1]), paths)
    texts = {name: Path(path).read_text() for name, path in paths.items()}
    again = pd.read_csv(paths["tsv"], sep="\t")
    assert set(again["dataset"]) == {odd}
    assert len(texts["tsv"].splitlines()) == len(table) + 1
    assert {line.count("\t") for line in texts["tsv"].splitlines()} == {len(COLUMNS) - 1}
    assert r"a\_b &amp; 50 % &lt;i&gt;\*c\*&lt;/i&gt; \| d" in texts["md"]
    piped = [line for line in texts["md"].splitlines() if line.startswith("| a")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in piped}) == 2  # one a grid
    assert (
        r"a\_b \& 50 \% \textless{}i\textgreater{}*c*\textless{}/i\textgreater{} \textbar{} d "
        r"\textbackslash{} \{e\} \textasciitilde{}f\textasciicircum{}g \$h \#i" in texts["tex"]
    )
    assert "<td>a_b &amp; 50 % &lt;i&gt;*c*&lt;/i&gt; | d \\ {e} ~f^g $h #i</td>" in texts["html"]
    assert "<i>" not in texts["html"]


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


@pytest.fixture
def settings(root):
    import yaml

    config = yaml.safe_load((root / "config.yaml").read_text())
    return {name: config[name] for name in ("model", "pretrain")}


def test_settings_beside_the_papers(settings):
    table = settings_table(settings)
    assert set(table["verdict"]) == {"same", "not printed"}
    assert (table["verdict"] == "same").sum() == len(printed.TABLE_5) + 2
    text = to_markdown(lay_out_settings(table))
    assert "| model | Embedding dim | 512 | 512 | same |" in text
    assert "| training | Optimizer | Adam | Adam | same |" in text
    assert "| pretrain | LR scheduling | Cosine Annealing | Cosine Annealing | same |" in text


def test_another_schedule_or_optimiser_differs(settings, monkeypatch, tmp_path):
    other = {**settings, "pretrain": {**settings["pretrain"], "schedule": "warm_restarts"}}
    table = settings_table(other).set_index("parameter")
    assert table.loc["LR scheduling", "value"] == "warm restarts"
    assert table.loc["LR scheduling", "verdict"] == "different"
    loop = tmp_path / "loop.py"
    loop.write_text("import torch\noptimizer = torch.optim.SGD([], 0.1)\n")
    monkeypatch.setattr("epifoundation.reporting.settings.LOOP", loop)
    assert optimizers() == ["SGD"]
    table = settings_table(settings).set_index("parameter")
    assert table.loc["Optimizer", "verdict"] == "different"


def test_printed_tables_are_complete():
    for layout in LAYOUTS.values():
        for methods in layout.printed.values():
            assert all(len(numbers) == len(layout.metrics) for numbers in methods.values())
    assert {len(printed.TABLE_1[name]) for name in printed.TABLE_1} == {5}
    assert set(printed.TABLE_2) == set(printed.TABLE_3)
