"""The demo's report, tables and figures as a reader opens them."""

import json

import headless
import pytest

OVERLAY = ("--configfile", "config/demo.yaml")
FIGURES = ("figure1", "figure3", "figure4", "figure5", "figure6", "ablation", "ranks")
FIGURES += ("confusion", "calibration", "genes", "training_curves")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("size", headless.SIZES)
def test_the_report_and_the_tables_open_without_an_error(demo, size, tmp_path):
    with headless.window(size, tmp_path) as browser:
        for page in ("report.html", *(f"tables/table{number}.html" for number in range(1, 6))):
            headless.check_page(browser, demo / page)
        browser.open(demo / "report.html")
        names = browser.run("return [...document.images].map((one) => one.alt)")
        assert len(names) == len(FIGURES)
        hidden = browser.run(
            "return [...document.images].filter((one) => one.naturalWidth < 300).length"
        )
        assert hidden == 0


def test_every_figure_is_there_in_both_formats(demo):
    for name in FIGURES:
        for suffix in ("pdf", "png"):
            assert (demo / f"figures/miniatlas/{name}.{suffix}").stat().st_size > 3_000, name


def test_quality_control_is_there_for_multiqc(demo):
    sections = [json.loads(path.read_text()) for path in demo.glob("multiqc/*_mqc.json")]
    assert {section["plot_type"] for section in sections} == {"bargraph", "table"}
    assert all(len(section["data"]) == 9 for section in sections)


def test_snakemake_makes_its_own_report(demo, snakemake, tmp_path):
    page = tmp_path / "snakemake.html"
    run = snakemake(*OVERLAY, "--report", str(page))
    assert run.code == 0, run.output[-3000:]
    text = page.read_text()
    for part in ("Tables", "Figures of the paper", "Further figures"):
        assert part in text
