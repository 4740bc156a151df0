"""The six criteria, and what other definitions of their metrics would change."""

import numpy as np
import pandas as pd
import pytest

from epifoundation.config import QcConfig
from epifoundation.contracts import QC_ALTERNATIVES, QC_FUNNEL
from epifoundation.data.criteria import filter_cells, qc_alternatives
from epifoundation.errors import DataError

QC = QcConfig(
    min_rna_umis=1000,
    max_rna_umis=25000,
    min_atac_reads=1000,
    max_atac_reads=100000,
    atac_reads="in_peaks",
    max_nucleosome_signal=2,
    nucleosome_lines="all",
    tss_enrichment="fast",
    min_tss_enrichment=1,
)


@pytest.fixture
def metrics():
    good = {
        "n_rna_umis": 1001,
        "n_genes": 500,
        "n_fragments": 500,
        "n_atac_in_peaks": 1001,
        "nucleosome_signal": 1.9,
        "tss_enrichment": 1.1,
    }
    changes = [
        {},
        {"n_rna_umis": 1000},
        {"n_rna_umis": 25000},
        {"n_atac_in_peaks": 1000},
        {"n_atac_in_peaks": 100000},
        {"nucleosome_signal": 2.0},
        {"nucleosome_signal": np.nan},
        {"tss_enrichment": 1.0},
        {"tss_enrichment": 0.5, "n_rna_umis": 3},
    ]
    rows = [{"barcode": f"cell{i}", **good, **change} for i, change in enumerate(changes)]
    return pd.DataFrame(rows)


def test_limits_themselves_fail_and_the_funnel_counts_each_criterion_alone(metrics):
    cells, funnel = filter_cells(metrics, QC, sample="s")
    assert cells["barcode"].tolist() == ["cell0"]
    QC_FUNNEL.check(funnel, "funnel")
    removed = dict(zip(funnel["criterion"], funnel["n_removed"], strict=True))
    assert removed == {
        "start": 0,
        "min_rna_umis": 2,
        "max_rna_umis": 1,
        "min_atac_reads": 1,
        "max_atac_reads": 1,
        "max_nucleosome_signal": 2,
        "min_tss_enrichment": 2,
        "kept": 8,
    }
    assert funnel["n_barcodes"].iloc[-1] == 1


def test_atac_reads_may_be_all_fragments(metrics):
    qc = QC.model_copy(update={"atac_reads": "fragments", "min_atac_reads": 499})
    assert len(filter_cells(metrics, qc, sample="s")[0]) == 3


def test_without_limits_every_barcode_is_kept(metrics):
    cells, funnel = filter_cells(metrics, None, sample="s")
    assert len(cells) == len(metrics)
    assert funnel["criterion"].tolist() == ["start", "kept"]


def test_matrices_are_judged_by_what_they_tell(metrics):
    known = metrics.drop(columns=["n_fragments", "nucleosome_signal", "tss_enrichment"])
    qc = QC.model_copy(update={"atac_reads": "fragments"})
    cells, funnel = filter_cells(known, qc, sample="s")
    assert cells["barcode"].tolist() == ["cell0", "cell5", "cell6", "cell7"]
    notes = funnel.set_index("criterion")["note"]
    assert notes["min_atac_reads"] == (
        "applied to n_atac_in_peaks: the input does not tell n_fragments"
    )
    for name, column in (
        ("max_nucleosome_signal", "nucleosome_signal"),
        ("min_tss_enrichment", "tss_enrichment"),
    ):
        assert notes[name] == f"not applied: the input does not tell {column}"
    assert (funnel["n_removed"][funnel["note"].str.startswith("not")] == 0).all()


def test_a_criterion_without_a_limit_is_still_in_the_funnel(metrics):
    qc = QC.model_copy(update={"min_tss_enrichment": None})
    cells, funnel = filter_cells(metrics, qc, sample="s")
    assert cells["barcode"].tolist() == ["cell0", "cell7"]
    assert funnel.set_index("criterion").loc["min_tss_enrichment"].tolist() == [
        *(9, 0, "not applied: no limit is set")
    ]


def test_the_settings_choose_which_metric_is_judged(metrics):
    chosen = metrics.assign(nucleosome_signal_first_lines=9.0, tss_enrichment_slow=9.0)
    qc = QC.model_copy(update={"tss_enrichment": "slow"})
    kept = filter_cells(chosen, qc, sample="s")[0]["barcode"]
    assert kept.tolist() == ["cell0", "cell7"]  # cell7 fails the fast score only
    qc = QC.model_copy(update={"nucleosome_lines": "signac"})
    with pytest.raises(DataError, match=r"max_nucleosome_signal removes most \(9; limit 2"):
        filter_cells(chosen, qc, sample="s")


@pytest.fixture
def measured(metrics):
    """As a counted sample has it: both definitions of three metrics, which agree but for some."""
    full = metrics.assign(
        n_fragments=metrics["n_atac_in_peaks"],
        nucleosome_signal_first_lines=metrics["nucleosome_signal"],
        tss_enrichment_slow=metrics["tss_enrichment"],
    )
    full.loc[0, "tss_enrichment_slow"] = 0.9  # the one cell is lost
    full.loc[7, "tss_enrichment_slow"] = 1.1  # a cell is won
    full.loc[8, "tss_enrichment_slow"] = 1.1  # passes this criterion, fails another
    full.loc[3, "n_fragments"] = 1001
    return full


def test_alternatives_count_who_passes_under_one_definition_only(measured):
    table = qc_alternatives(measured, QC)
    QC_ALTERNATIVES.check(table, "alternatives")
    rows = table.set_index("setting").fillna(-1).T.to_dict("list")
    assert rows == {
        "atac_reads": ["in_peaks", "fragments", 1, 2, 0, 1, 0, 1, ""],
        "nucleosome_lines": ["all", "signac", 1, 1, 0, 0, 0, 0, ""],
        "tss_enrichment": ["fast", "slow", 1, 1, 1, 1, 1, 2, ""],
    }


def test_alternatives_say_why_nothing_is_compared(metrics, tmp_path):
    known = metrics.drop(columns=["n_fragments", "nucleosome_signal", "tss_enrichment"])
    QC_ALTERNATIVES.write(qc_alternatives(known, QC), tmp_path / "a.tsv")
    table = QC_ALTERNATIVES.read(tmp_path / "a.tsv").set_index("setting")
    assert table["n_cells_used"].isna().all()
    assert table["note"].tolist() == [
        "not compared: the input does not tell n_fragments",
        "not compared: the input does not tell nucleosome_signal",
        "not compared: the input does not tell tss_enrichment",
    ]
    assert set(qc_alternatives(metrics, None)["note"]) == {"no criterion is applied"}


def test_an_unknown_metric_is_named_with_the_way_out(metrics):
    with pytest.raises(DataError, match=r"tss_enrichment is unknown .* reference\.annotation"):
        filter_cells(metrics.assign(tss_enrichment=np.nan), QC, sample="s")


def test_a_sample_without_cells_names_the_criterion_to_blame(metrics):
    poor = metrics.assign(tss_enrichment=0.2)
    with pytest.raises(DataError) as error:
        filter_cells(poor, QC, sample="heart_1")
    message = str(error.value)
    assert "sample heart_1: no cell is left of 9 barcodes" in message
    assert "min_tss_enrichment removes most (9; limit 1, median tss_enrichment 0.2)" in message
    assert "\n" not in message
