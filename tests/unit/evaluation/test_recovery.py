import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epifoundation.contracts import METRICS
from epifoundation.evaluation.recovery import (
    RECOVERY,
    PlantedTruth,
    called_cells,
    overlaps_any,
    recovery_table,
)

INTERVALS = st.lists(
    st.tuples(st.sampled_from(["chr1", "chr2"]), st.integers(0, 60), st.integers(1, 12)),
    max_size=12,
)


def frame(intervals):
    rows = [(chrom, start, start + width) for chrom, start, width in intervals]
    return pd.DataFrame(rows, columns=["chrom", "start", "end"])


@given(INTERVALS, INTERVALS)
def test_overlaps_agree_with_a_loop(queries, targets):
    queries, targets = frame(queries), frame(targets)
    expected = [
        any(
            q.chrom == t.chrom and q.start < t.end and t.start < q.end for t in targets.itertuples()
        )
        for q in queries.itertuples()
    ]
    assert overlaps_any(queries, targets).tolist() == expected


@pytest.fixture
def truth():
    cells = pd.DataFrame(
        {
            "sample": "s",
            "barcode": [f"b{i}" for i in range(5)],
            "cell_type": ["T4", "T8", "Mast", "Mast", "T4"],
            "lineage": ["lymphoid", "lymphoid", "myeloid", "myeloid", "lymphoid"],
            "is_doublet": [False, False, False, False, True],
        }
    )
    regions = frame([("chr1", 100, 50), ("chr1", 300, 50)]).assign(rare_only=[False, True])
    return PlantedTruth(
        cells=cells,
        regions=regions,
        synonyms=pd.DataFrame({"cell_type": ["Mast"], "synonym": ["Mastocyte"]}),
        controls=pd.DataFrame(
            {"dataset": ["D"], "control": ["oracle"], "metric": ["macro_f1"], "value": [0.9]}
        ),
        sisters=(("T4", "T8"),),
        rare_type="Mast",
    )


@pytest.fixture
def labels():
    return pd.DataFrame(
        {
            "barcode": ["s#b0", "s#b1", "s#b2", "s#b4"],
            "cluster": ["0", "0", "1", "1"],
            "cell_type": ["T4", "T4", "Mastocyte", "Mast"],
        }
    )


def metrics_of(values):
    rows = [
        {"task": task, "dataset": "D", "method": method, "seed": seed, "metric": metric, "value": v}
        for (task, method, metric), several in values.items()
        for seed, v in enumerate(several)
    ]
    return pd.DataFrame(rows)


METRIC_VALUES = metrics_of(
    {
        ("annotation", "epifoundation", "macro_f1"): [0.7, 0.8],
        ("annotation", "lsi_logistic", "macro_f1"): [0.77, 0.77],
        ("expression", "epifoundation", "pearson"): [0.5],
        ("expression", "depth_only", "pearson"): [0.4],
        ("expression", "gene_activity", "pearson"): [0.6],
        ("expression", "epifoundation", "spearman"): [0.5],
        ("expression", "epifoundation", "mse"): [1.0],
        ("expression", "gene_mean", "mse"): [1.5],
    }
)


def test_a_hand_worked_run(truth, labels, tmp_path):
    called = {"s": ["b0", "b1", "b2", "b4", "empty"]}
    peaks = pd.DataFrame([("chr1", 120, 130, "x"), ("chr2", 0, 9, "y")])
    table = recovery_table(truth, called, peaks, labels, METRIC_VALUES)
    RECOVERY.write(table, tmp_path / "recovery.tsv")
    found = RECOVERY.read(tmp_path / "recovery.tsv").set_index(["measure", "scope"])
    value, passed = found["value"], found["passed"]
    assert value["cells_precision", "all"] == 3 / 4  # the doublet counts for neither
    assert value["cells_recall", "s"] == 3 / 4
    assert passed["cells_recall", "s"] == "no"
    assert value["called_doublets", "all"] == 1 / 4
    assert value["peaks_recall", "all"] == value["peaks_precision", "all"] == 0.5
    assert value["peaks_recall", "rare type only"] == 0
    assert value["purity_lineages", "all"] == 1
    assert passed["purity_lineages", "all"] == "yes"
    assert value["purity_sisters", "T4 / T8"] == 0.5
    assert value["label_recall", "Mast"] == 1  # by its synonym
    assert value["label_recall", "T8"] == 0
    assert value["label_recall", "macro"] == pytest.approx(2 / 3)
    assert value["annotation_macro_f1", "D"] == pytest.approx(0.75)
    assert passed["annotation_macro_f1", "D"] == "yes"
    assert value["annotation_of_oracle", "D"] == pytest.approx(0.75 / 0.9)
    assert passed["annotation_of_oracle", "D"] == "no"
    assert passed["expression_pearson_over_depth_only", "D"] == "yes"
    assert passed["expression_pearson_over_gene_activity", "D"] == "no"
    assert passed["expression_mse_below_gene_mean", "D"] == "yes"


def test_what_was_not_measured_is_a_miss_not_a_gap(truth, labels):
    table = recovery_table(truth, {"s": []}, frame([]), labels[:0], METRIC_VALUES)
    row = table.set_index(["measure", "scope"]).loc["expression_spearman_over_depth_only", "D"]
    assert np.isnan(row["value"])
    assert row["passed"] == "no"
    misses = table.loc[table["passed"] == "no", "measure"].tolist()
    assert {"cells_precision", "peaks_precision", "purity_lineages", "label_recall"} <= set(misses)


def test_called_cells_are_read_from_arc_s_metrics(tmp_path):
    path = tmp_path / "per_barcode_metrics.csv"
    path.write_text("barcode,is_cell,gex_umis_count\nA-1,1,9\nC-1,0,1\n")
    assert called_cells(["s"], [str(path)]) == {"s": ["A-1"]}


def test_metric_columns_used_here_are_contracted():
    assert {"task", "dataset", "method", "metric", "value"} <= set(METRICS.dtypes)
