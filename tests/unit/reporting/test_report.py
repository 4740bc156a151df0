"""The report: every part of a run on one page that needs nothing else."""

import re
from dataclasses import replace

from epifoundation.contracts import METRICS
from epifoundation.reporting.report import write_report
from epifoundation.reporting.run_sections import missing_section, program_version, short_section


def test_everything_is_on_one_page(report_files, sample, tmp_path):
    write_report(
        report_files,
        [sample],
        {"results_dir": "results", "model": {"d_model": 64}},
        tmp_path / "r.html",
    )
    page = (tmp_path / "r.html").read_text()
    for text in ("TISSUE", "1,204", "812", "5,678", "3 cells", "Table 1", "61.5", "d_model: 64"):
        assert text in page
    assert "cells &lt;called&gt;" in page
    assert "min_rna_umis not applied: no limit is set (mini one)." in page
    assert "4,321" in page
    assert "0.8765" in page
    assert "pericyte" in page
    assert "0.0123" in page  # margin of a label
    assert "Figure 1. All cells of the atlas by tissue" in page
    assert page.count("data:image/png;base64,") == 1
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)


def test_real_data_have_no_planted_truth(report_files, sample, tmp_path):
    write_report(
        replace(report_files, recovery=None), [sample], {"results_dir": "r"}, tmp_path / "r.html"
    )
    assert "no truth is planted" in (tmp_path / "r.html").read_text()


def rows_of(section, place=0):
    return [
        dict(zip(section.frames[place].columns, row, strict=True))
        for row in section.frames[place].rows
    ]


def test_what_has_no_number_is_listed_with_its_reason(report_files):
    metrics = METRICS.read(report_files.metrics)
    (row,) = rows_of(missing_section(metrics))
    assert (row["methods"], row["metrics"], row["reason"]) == (
        "scANVI",
        "Macro F1",
        "out of memory",
    )
    complete = missing_section(metrics[metrics["value"].notna()])
    assert complete.frames == []
    assert "nothing was skipped, nothing failed" in complete.notes[0]


def test_the_first_lines_say_who_is_ahead(report_files):
    metrics = METRICS.read(report_files.metrics)
    section = short_section(metrics)
    assert "is ahead of every other method on 1 of 1 data sets" in section.notes[0]
    assert "1 of them have no value" in section.notes[1]
    (row,) = rows_of(section)
    assert row["best other method"] == "LSI + logistic regression"
    beaten = metrics.assign(value=metrics["value"].where(metrics["method"] != "majority", 0.9))
    assert "ahead of every other method on 0 of 1" in short_section(beaten).notes[0]
    assert short_section(metrics.iloc[:0]).notes == ["Nothing was scored."]


def test_hashes_versions_and_comparisons_are_there(report_files, sample, tmp_path):
    write_report(report_files, [sample], {"results_dir": "results"}, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    for text in ("split, mini Kidney paper seed 0", "abcdef", "vocabulary, mini Kidney"):
        assert text in page
    assert "Differences from EpiFoundation (1 rows)" in page
    assert "annotation, Kidney: few cells tell little" in page
    assert "scikit-learn" in page
    assert program_version("no_such_program") == "not on this machine"
