"""The demo recovers what the simulation planted, once, and knows when nothing is left to do."""

import pandas as pd
import pytest

OVERLAY = ("--configfile", "config/demo.yaml")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recovery(demo):
    return pd.read_csv(demo / "recovery.tsv", sep="\t")


def test_planted_cells_peaks_clusters_and_labels_are_recovered(recovery):
    of_model = recovery["measure"].str.startswith(("annotation", "expression"))
    pipeline = recovery[~of_model & recovery["threshold"].notna()]
    expected = {"cells_precision", "cells_recall", "peaks_recall", "peaks_precision"}
    assert expected | {"purity_lineages"} <= set(pipeline["measure"])
    missed = pipeline[pipeline["passed"] != "yes"]
    assert missed.empty, missed.to_string()


def test_what_the_model_reached_is_said_for_every_data_set(demo, recovery):
    annotation = recovery[recovery["measure"] == "annotation_macro_f1"]
    assert set(annotation["scope"]) == {"ALLTissue", "Kidney", "PBMC", "BMMC"}
    assert annotation["passed"].isin(["yes", "no"]).all()
    values = recovery.dropna(subset="threshold")
    assert values["value"].notna().all(), values.to_string()
    expression = recovery[recovery["measure"].str.startswith("expression")]
    assert expression.groupby("measure").size().eq(4).all()
    assert expression["measure"].nunique() >= 6
    metrics = pd.read_csv(demo / "metrics.tsv", sep="\t")
    majority = metrics[(metrics["method"] == "majority") & (metrics["metric"] == "macro_f1")]
    assert annotation["value"].mean() > 1.5 * majority["value"].mean(), annotation.to_string()


def test_every_table_and_figure_is_there(demo):
    for number in range(1, 6):
        for suffix in ("tsv", "md", "tex", "html"):
            assert (demo / f"tables/table{number}.{suffix}").stat().st_size > 100
    for number in (1, 3, 4, 5, 6):
        assert (demo / f"figures/miniatlas/figure{number}.png").stat().st_size > 5_000
    assert (demo / "report.html").stat().st_size > 100_000


def test_the_tables_hold_every_method_and_data_set(demo):
    metrics = pd.read_csv(demo / "metrics.tsv", sep="\t")
    integration = metrics[metrics["task"] == "integration"]
    assert set(integration["dataset"]) == {"Kidney", "PBMC", "BMMC"}
    assert {"pca", "harmony", "liger", "scanvi", "epifoundation"} <= set(integration["method"])
    unexplained = metrics[metrics["value"].isna() & metrics["note"].isna()]
    assert unexplained.empty, unexplained.to_string()
    expected = {"ALLTissue", "Kidney", "PBMC", "BMMC"}
    for task in ("annotation", "expression"):
        assert set(metrics.loc[metrics["task"] == task, "dataset"]) == expected


def test_a_second_run_does_nothing(demo, snakemake):
    run = snakemake(*OVERLAY)
    assert run.code == 0
    assert "Nothing to be done" in run.output


def test_a_deleted_table_is_the_only_job_of_tables_and_one_of_two_of_all(demo, snakemake):
    (demo / "tables/table2.tsv").unlink()
    assert sum(snakemake(*OVERLAY, "-n", "--quiet", "rules", "--", "tables").jobs().values()) == 1
    assert sum(snakemake(*OVERLAY, "-n", "--quiet", "rules").jobs().values()) == 2
    run = snakemake(*OVERLAY)
    assert run.code == 0, run.output[-3000:]
    assert (demo / "tables/table2.tsv").exists()


def test_a_changed_threshold_reruns_its_step_and_what_follows(demo, snakemake):
    run = snakemake(*OVERLAY, "-n", "--quiet", "rules", "--config", "qc={min_rna_umis: 1100}")
    jobs = run.jobs()
    assert jobs["filter_cells"] == 9
    assert not {"align_open", "count", "call_peaks"} & jobs.keys()
