"""The report and the tables as Chromium shows them: no error, no request, sorted and filtered."""

import headless
import numpy as np
import pandas as pd
import pytest

from epifoundation.reporting.formats import write_table
from epifoundation.reporting.layouts import LAYOUTS
from epifoundation.reporting.page import lay_out
from epifoundation.reporting.report import write_report
from epifoundation.reporting.tables import result_table

READ = """
const cells = (table, column) => [...table.tBodies[0].rows].filter((row) => !row.hidden)
  .map((row) => row.cells[column].innerText.split("\\n")[0]);
const table = document.querySelector("table.data");
const press = (column) => table.tHead.rows[0].cells[column].querySelector("[role=button]").click();
const type = (words) => {
  const field = table.parentElement.previousElementSibling.querySelector("input");
  field.value = words;
  field.dispatchEvent(new Event("input"));
};
"""


@pytest.fixture(scope="module", params=headless.SIZES)
def browser(request, tmp_path_factory):
    with headless.window(request.param, tmp_path_factory.mktemp("profile")) as window:
        yield window


def metrics_of(values):
    """Numbers of five methods on one data set; NaN: it failed."""
    rows = [
        {
            "atlas": "mini",
            "dataset": "Kidney",
            "protocol": "paper",
            "task": "annotation",
            "method": method,
            "seed": 0,
            "metric": metric,
            "value": value,
            "low": value - 0.01,
            "high": value + 0.01,
            "n_cells": 1234,
            "n_donors": 3,
            "n_types": 7,
            "fit_on": "fit",
            "labels_seen": "train",
            "label_source": "disco_wnn",
            "note": "" if value == value else "out of memory",
            "input_hash": "0123456789abcdef",
        }
        for method, value in values.items()
        for metric in ("accuracy", "macro_f1", "micro_f1", "roc_auc")
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def table(tmp_path):
    values = {"majority": 0.1, "depth_only": 0.25, "lsi_logistic": 0.9, "scanvi": np.nan}
    metrics = metrics_of({**values, "epifoundation": 0.3})
    numbers = result_table(metrics, LAYOUTS[2], comparable=False)
    path = tmp_path / "table2.html"
    write_table(numbers, lay_out(numbers, LAYOUTS[2]), {"html": str(path)})
    return path


def test_a_table_is_shown_sorted_and_filtered(browser, table):
    headless.check_page(browser, table)
    assert len(browser.run(READ + "return cells(table, 1)")) == 5
    up = browser.run(READ + "press(2); return cells(table, 2)")
    assert up[:4] == ["0.1000", "0.2500", "0.3000", "0.9000"]
    assert up[4].startswith("—")  # what has no number comes last in both directions
    down = browser.run(READ + "press(2); return cells(table, 2)")
    assert down[:4] == ["0.9000", "0.3000", "0.2500", "0.1000"]
    assert down[4].startswith("—")
    order = browser.run("return document.querySelector('th[aria-sort]').getAttribute('aria-sort')")
    assert order == "descending"
    keyed = "new KeyboardEvent('keydown', {key: 'Enter'})"
    button = "table.tHead.rows[0].cells[2].querySelector('[role=button]')"
    again = browser.run(f"{READ} {button}.dispatchEvent({keyed}); return cells(table, 2)")
    assert again == up
    by_name = browser.run(READ + "press(1); return cells(table, 1)")
    assert by_name == sorted(by_name, key=str.lower)
    assert browser.run(READ + "type('logistic lsi'); return cells(table, 1)") == [
        "LSI + logistic regression"
    ]
    assert browser.run("return document.querySelector('.filter span').innerText") == "1 of 5 rows"
    assert len(browser.run(READ + "type(''); return cells(table, 1)")) == 5
    assert browser.console() == []


def test_numbers_are_sorted_as_numbers(browser, tmp_path):
    from epifoundation.reporting.formats import part_of_page

    counts = ["1,234", "—", "56", "-7", "8.5e2", "0.57 ± 0.01"]
    rows = "".join(f"<tr><td>{count}</td></tr>" for count in counts)
    page = tmp_path / "counts.html"
    page.write_text(
        "<!doctype html><meta charset=utf-8><div><table class=data><thead><tr><th>n</th></tr>"
        f"</thead><tbody>{rows}</tbody></table></div><script>{part_of_page('page.js')}</script>"
    )
    browser.open(page)
    in_order = ["-7", "0.57 ± 0.01", "56", "8.5e2", "1,234", "—"]
    assert browser.run(READ + "press(0); return cells(table, 0)") == in_order


def test_the_report_is_one_page_that_asks_for_nothing(browser, report_files, sample, tmp_path):
    page = tmp_path / "report.html"
    write_report(report_files, [sample] * 5, {"results_dir": "results"}, page)
    headless.check_page(browser, page)
    n_tables, n_bars = browser.run(
        "return ['table.data', '.filter'].map((name) => document.querySelectorAll(name).length)"
    )
    assert n_tables > 10
    assert n_bars > 0
    broken = browser.run("return [...document.images].filter((one) => !one.naturalWidth).length")
    assert broken == 0


def test_an_error_and_a_request_would_be_seen(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><script src='https://example.invalid/x.js'></script>"
        "<div style='width: 3000px'>wide</div><script>missing();</script>"
    )
    browser.open(page)
    assert any("missing is not defined" in line for line in browser.console())
    assert "https://example.invalid/x.js" in browser.requested()
    width = browser.run("return document.documentElement.scrollWidth")
    assert width >= 3000
