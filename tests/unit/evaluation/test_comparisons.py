"""Differences between methods: paired, corrected for overlapping splits, and with their limits."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from epifoundation.contracts import COMPARISONS, METRICS, RESAMPLED, SPLIT
from epifoundation.evaluation.annotation import prediction_table
from epifoundation.evaluation.comparisons import (
    compare_methods,
    corrected_half_width,
    few_cells,
    read_resampled,
    read_sizes,
)
from epifoundation.evaluation.refused import refused_rows
from epifoundation.evaluation.results import write_predictions
from epifoundation.evaluation.score import Score, Subject, metric_rows
from epifoundation.evaluation.scoring import score_annotation, subject_of
from epifoundation.evaluation.tissue import tissue_accuracy

ONE = {"atlas": "mini", "dataset": "Kidney", "protocol": "paper", "seed": 0}
SETS = [{**ONE, "task": "annotation"}]
SIZES = {("mini", "Kidney", "paper", seed): (20, 80) for seed in range(10)}


def scored(values, metric="accuracy", task="annotation"):
    """Metrics of methods by seed."""
    return pd.concat(
        [
            metric_rows(
                Subject(
                    "mini", "Kidney", "paper", task, method, seed, 500, "fit", "train", "given"
                ),
                {metric: Score(value, "why")},
            )
            for method, of_seed in values.items()
            for seed, value in enumerate(of_seed)
        ],
        ignore_index=True,
    )


def drawn(values, unit="cells"):
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "method": method,
                    "metric": "accuracy",
                    "drawn": unit,
                    "resample": range(len(of_resample)),
                    "value": of_resample,
                }
            )
            for method, of_resample in values.items()
        ]
    )


def test_a_small_difference_of_the_same_cells_is_seen_where_intervals_overlap():
    rng = np.random.default_rng(0)
    shared = 0.5 + 0.05 * rng.normal(size=500)
    table = drawn({"epifoundation": shared + 0.02, "lsi": shared, "knn": rng.permutation(shared)})
    metrics = scored({"epifoundation": [0.52], "lsi": [0.5], "knn": [0.5]})
    found = compare_methods(metrics, [(SETS[0], table)], SIZES)
    COMPARISONS.check(found, "comparisons.tsv")
    found = found.set_index("method")
    assert found["better"].to_dict() == {"lsi": "EpiFoundation", "knn": "undecided"}
    assert found["low"]["lsi"] == pytest.approx(0.02)
    assert found["n_drawn"].tolist() == [500, 500]


def test_a_smaller_error_is_the_better_one():
    table = drawn({"epifoundation": np.full(9, 1.0), "lsi": np.full(9, 2.0)}).assign(metric="mse")
    metrics = scored({"epifoundation": [1.0], "lsi": [2.0]}, "mse", "expression")
    one = {**ONE, "task": "expression"}
    found = compare_methods(metrics, [(one, table)], SIZES)
    assert found["better"].tolist() == ["EpiFoundation"]


def test_overlapping_splits_widen_the_interval():
    differences = np.array([0.03, 0.01, 0.02, 0.04, 0.02])
    plain = stats.t.ppf(0.975, 4) * differences.std(ddof=1) / np.sqrt(5)
    assert corrected_half_width(differences, 0.25) == pytest.approx(plain * np.sqrt(1 + 5 * 0.25))
    other = np.array([0.50, 0.52, 0.51, 0.49, 0.5])
    metrics = scored({"epifoundation": other + differences, "lsi": other})
    found = compare_methods(metrics, [], SIZES).iloc[0]
    assert (found["drawn"], found["seed"], found["n_drawn"]) == ("seeds", "all", 5)
    assert found["difference"] == pytest.approx(0.024)
    half = corrected_half_width(differences, 0.25)
    assert found["low"] == pytest.approx(0.024 - half)


def test_false_alarms_are_rare_over_overlapping_splits():
    """Both methods are as good; splits are random halves of one set of cells."""
    rng = np.random.default_rng(1)
    alarms = {"plain": 0, "corrected": 0}
    for _ in range(300):
        cells = rng.normal(size=100)  # difference between the methods on each cell
        splits = [cells[rng.permutation(100)[:50]].mean() for _ in range(10)]
        differences = np.array(splits)
        alarms["plain"] += stats.ttest_1samp(differences, 0).pvalue < 0.05
        alarms["corrected"] += abs(differences.mean()) > corrected_half_width(differences, 1.0)
    assert alarms["plain"] > 90
    assert alarms["corrected"] < 60


def test_one_seed_and_no_resample_compare_nothing():
    found = compare_methods(scored({"epifoundation": [0.5], "lsi": [0.4]}), [], SIZES)
    COMPARISONS.check(found, "comparisons.tsv")
    assert found.empty


def test_without_labels_the_pretrained_model_is_compared():
    of_seed = {"epifoundation_pretrained": [0.5, 0.6], "lsi": [0.4, 0.45]}
    metrics = scored(of_seed, "nmi", "integration").assign(protocol="label_free")
    sizes = {("mini", "Kidney", "label_free", seed): (20, 80) for seed in range(2)}
    (found,) = compare_methods(metrics, [], sizes).to_dict("records")
    assert (found["method"], found["protocol"]) == ("lsi", "label_free")
    assert found["difference"] == pytest.approx(0.125)
    metrics = scored({**of_seed, "epifoundation": [0.7, 0.9]}, "nmi", "integration")
    found = compare_methods(metrics, [], SIZES).set_index("method")
    assert set(found.index) == {"epifoundation_pretrained", "lsi"}
    assert found["epifoundation"].to_numpy() == pytest.approx(0.8)
    assert compare_methods(scored({"lsi": [0.4, 0.5]}), [], SIZES).empty


def test_what_has_no_value_is_left_out():
    metrics = scored({"epifoundation": [0.5, 0.6], "lsi": [0.4, np.nan]}, "nmi", "integration")
    assert compare_methods(metrics, [], SIZES).empty


def test_few_cells_are_said_in_words():
    assert "95 test cells: at so few a random embedding" in few_cells("integration", "nmi", 95)
    assert "standard error of up to 0.051" in few_cells("annotation", "accuracy", 95)
    assert "depth alone" in few_cells("expression", "pearson", 95)
    assert not few_cells("annotation", "accuracy", 1000)


def test_scores_give_paired_resamples_and_intervals(tiny_atlas, tmp_path):
    cells = tiny_atlas.store.cells
    types = sorted(set(cells["cell_type"]))
    rng = np.random.default_rng(0)
    files = {}
    for method in ("epifoundation", "epifoundation_no_pretrain", "lsi_logistic"):
        files[method] = tmp_path / f"{method}.parquet"
        scores = rng.random((len(cells), len(types)))
        write_predictions(files[method], prediction_table(cells["cell"], scores, types))
    subject = subject_of({**ONE, "label_source": "given", "remark": "a word"}, "annotation")
    found = score_annotation(tiny_atlas.store, tiny_atlas.split, files, subject)
    METRICS.check(found.metrics, "annotation.tsv")
    RESAMPLED.check(found.resampled, "resampled")
    by_task = found.metrics.groupby("task")["method"].unique().map(list)
    assert by_task["annotation"] == ["epifoundation", "lsi_logistic"]
    assert by_task["ablation"] == ["epifoundation", "epifoundation_no_pretrain"]
    accuracy = found.metrics[found.metrics["metric"] == "accuracy"]
    assert (accuracy["low"] <= accuracy["value"]).all()
    assert (accuracy["value"] <= accuracy["high"]).all()
    assert found.metrics["note"].str.endswith("a word").all()
    assert found.metrics["input_hash"].nunique() == 1
    f1 = found.metrics[found.metrics["metric"].str.startswith("f1:")]
    assert f1[f1["method"] == "lsi_logistic"]["n_cells"].sum() == 12
    compared = compare_methods(found.metrics, [(SETS[0], found.resampled)], SIZES)
    tasks = compared.groupby("task")["method"].unique().map(list).to_dict()
    assert tasks == {"annotation": ["lsi_logistic"], "ablation": ["epifoundation_no_pretrain"]}


def test_files_of_sets_are_read_in_their_order(tmp_path):
    sets = [{**ONE, "task": "integration"}, *SETS]
    RESAMPLED.write(drawn({"epifoundation": np.zeros(3)}), tmp_path / "r.parquet")
    parts = ["train", "train", "validation", "test", "unused"]
    split = pd.DataFrame({"cell": list("abcde"), "split": parts})
    SPLIT.write(split, tmp_path / "s.tsv")
    found = list(read_resampled(sets, [tmp_path / "r.parquet"]))
    assert [one["task"] for one, _ in found] == ["annotation"]
    assert read_sizes(sets, [tmp_path / "s.tsv"] * 2) == {("mini", "Kidney", "paper", 0): (1, 3)}


def test_what_a_protocol_cannot_have_keeps_its_rows():
    refused = {
        **ONE,
        "task": "annotation",
        "label_source": "given",
        "methods": ["majority", "epifoundation"],
        "reason": "donor_held_out: one donor only (donor5)",
    }
    ablated = {**refused, "methods": ["epifoundation_no_tissue"]}
    table = pd.concat(refused_rows([refused, ablated]), ignore_index=True)
    METRICS.check(table, "metrics.tsv")
    assert table["value"].isna().all()
    assert set(table["note"]) == {refused["reason"]}
    assert set(table["task"]) == {"annotation", "ablation"}
    assert not refused_rows([])


def test_what_a_protocol_cannot_have_stands_among_the_methods_that_saw_as_much():
    refused = {
        **ONE,
        "protocol": "donor_held_out",
        "task": "integration",
        "label_source": "given",
        "methods": ["pca", "scanvi", "epifoundation"],
        "reason": "donor_held_out: one donor only (donor5)",
    }
    rows = pd.concat(refused_rows([refused])).drop_duplicates("method").set_index("method")
    assert rows["labels_seen"].to_dict() == {
        "pca": "none",
        "scanvi": "train",
        "epifoundation": "train",
    }
    assert rows["fit_on"]["pca"] == "all cells, unlabelled"
    assert rows["fit_on"]["scanvi"] == "all cells, partly labelled"
    assert rows["fit_on"]["epifoundation"] == "fit"
    shown = pd.concat(refused_rows([{**refused, "protocol": "paper"}])).set_index("method")
    assert set(shown["fit_on"]["scanvi"]) == {"all cells, labelled"}


def test_the_tissue_is_told_from_an_embedding_that_holds_it():
    rng = np.random.default_rng(0)
    tissues = pd.Series(np.repeat(["liver", "lung", "skin"], [60, 60, 3]))
    noise = rng.normal(size=(123, 4))
    held = noise + 5 * (tissues == "liver").to_numpy()[:, None]
    assert tissue_accuracy(held, tissues, seed=0).value > 0.95
    score = tissue_accuracy(noise, tissues, seed=0)
    assert score.interval[0] < 0.5 < score.interval[1]
    assert score.n_cells == 120  # those of the tissue of three cells are left out
    assert tissue_accuracy(noise, pd.Series(["liver"] * 123), seed=0).note == "one tissue only"
