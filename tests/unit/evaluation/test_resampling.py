"""Resampled scores are those of the resampled cells."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from epifoundation.evaluation.annotation import annotation_metrics, prediction_table
from epifoundation.evaluation.depth import depth_r2, terciles
from epifoundation.evaluation.expression import expression_metrics
from epifoundation.evaluation.resampling import (
    annotation_resampled,
    cell_weights,
    donor_weights,
    expression_resampled,
    interval,
    mse_and_pearson,
    type_f1,
)

N = 400


@pytest.fixture(scope="module")
def annotated():
    rng = np.random.default_rng(0)
    truth = rng.choice(["B", "NK", "T"], N, p=[0.5, 0.1, 0.4])
    scores = rng.random((N, 3)) + 0.5 * (truth[:, None] == np.array(["B", "NK", "T"]))
    table = prediction_table(pd.Index([f"c{i}" for i in range(N)]), scores, ["B", "NK", "T"])
    return table, pd.Series(truth, index=table["cell"])


@pytest.fixture(scope="module")
def expressed():
    rng = np.random.default_rng(1)
    target = rng.poisson(1, (N, 30)).astype(np.uint8)
    target[:, 0] = 2  # a constant gene
    predicted = 0.5 * target + rng.normal(size=target.shape)
    predicted[:, 1] = 1
    return sparse.csr_matrix(target), predicted


def drawn_cells(weights):
    return np.repeat(np.arange(len(weights)), weights.astype(int))


def test_weights_of_one_give_the_scores_themselves(annotated, expressed):
    once = np.ones((1, N))
    found = annotation_resampled(*annotated, once)
    for metric, score in annotation_metrics(*annotated).items():
        if metric in found:
            assert found[metric][0] == pytest.approx(score.value)
    assert {"accuracy", "macro_f1", "micro_f1", "roc_auc", "f1:NK"} <= found.keys()
    scores = expression_metrics(*expressed)
    for metric, values in expression_resampled(*expressed, once).items():
        assert values[0] == pytest.approx(scores[metric].value, abs=1e-9)
    assert mse_and_pearson(*expressed) == pytest.approx(
        (scores["mse"].value, scores["pearson"].value)
    )


def test_a_resample_scores_like_a_table_of_the_cells_drawn(annotated, expressed):
    weights = cell_weights(N, seed=3, n_resamples=3)
    table, truth = annotated
    quick = annotation_resampled(table, truth, weights)
    exact = {"accuracy": 1e-9, "micro_f1": 1e-9, "macro_f1": 1e-9, "roc_auc": 0.005}
    levels = expression_resampled(*expressed, weights)
    close = {"mse": 1e-9, "pearson": 0.003, "spearman": 0.006}
    for i, row in enumerate(weights):
        cells = drawn_cells(row)
        again = table.iloc[cells].assign(cell=[f"d{j}" for j in range(N)])
        scores = annotation_metrics(again, pd.Series(truth.to_numpy()[cells], index=again["cell"]))
        for metric, allowed in exact.items():
            assert quick[metric][i] == pytest.approx(scores[metric].value, abs=allowed)
        scores = expression_metrics(expressed[0][cells], expressed[1][cells])
        for metric, allowed in close.items():
            assert levels[metric][i] == pytest.approx(scores[metric].value, abs=allowed)


@pytest.fixture(scope="module")
def of_donors():
    """Cells of five donors who differ in mean level, in types and in how well they are scored."""
    rng = np.random.default_rng(2)
    donor = rng.choice(5, N, p=[0.35, 0.3, 0.2, 0.1, 0.05])
    shift = np.array([-3, -1, 0, 2, 5])[donor, None]
    target = np.clip(rng.poisson(2, (N, 30)) + shift, 0, 9)
    target[:, 1] = 3 * (donor == 4)  # constant in resamples without the last donor
    predicted = 0.5 * shift + rng.normal(size=target.shape)
    predicted[:, 2] = donor == 3
    truth = np.where(rng.random(N) < 0.1 + 0.2 * donor, "T", "B").astype(object)
    truth[donor == 4] = "NK"  # absent from resamples without the last donor
    names = np.array(["B", "NK"])  # T is never scored
    scores = rng.random((N, 2)) + 0.4 * donor[:, None] * (truth[:, None] == names)
    table = prediction_table(pd.Index([f"c{i}" for i in range(N)]), scores.round(1), list(names))
    return donor, sparse.csr_matrix(target), predicted, table, truth


def test_donors_drawn_give_the_scores_of_their_cells(of_donors):
    donor, target, predicted, table, truth = of_donors
    weights = donor_weights(pd.Series(donor.astype(str)), seed=0, n_resamples=30)
    levels = expression_resampled(target, predicted, weights, donor)
    annotated = annotation_resampled(
        table, pd.Series(truth, index=table["cell"]), weights, groups=donor
    )
    linear = expression_resampled(target, predicted, weights)["pearson"]
    assert np.abs(linear - levels["pearson"]).max() > 0.1
    ranks = [np.apply_along_axis(stats.rankdata, 0, v) for v in (target.toarray(), predicted)]
    for i, row in enumerate(weights):
        of_each = row[np.unique(donor, return_index=True)[1]]
        cells = drawn_cells(np.round(5 * row / of_each.sum()))
        scores = expression_metrics(target[cells], predicted[cells])
        assert levels["mse"][i] == pytest.approx(scores["mse"].value)
        assert levels["pearson"][i] == pytest.approx(scores["pearson"].value)
        of_ranks = expression_metrics(sparse.csr_matrix(ranks[0][cells]), ranks[1][cells])
        assert levels["spearman"][i] == pytest.approx(of_ranks["pearson"].value)
        again = table.iloc[cells].assign(cell=[f"d{j}" for j in range(len(cells))])
        scores = annotation_metrics(again, pd.Series(truth[cells], index=again["cell"]))
        for metric in ("accuracy", "macro_f1", "roc_auc"):
            assert annotated[metric][i] == pytest.approx(scores[metric].value, nan_ok=True)


def test_a_donor_shift_of_both_is_in_the_interval_of_a_correlation(of_donors):
    """To first order it reaches beyond what any drawing of donors can give."""
    donor, target, predicted, _, _ = of_donors
    weights = donor_weights(pd.Series(donor.astype(str)), seed=0)
    exact = interval(expression_resampled(target, predicted, weights, donor)["pearson"])
    linear = interval(expression_resampled(target, predicted, weights)["pearson"])
    whole = expression_metrics(target, predicted)["pearson"].value
    assert exact[0] < whole < exact[1] < 1
    assert linear[1] > exact[1] + 0.05


def test_the_interval_of_an_accuracy_is_the_binomial_one(annotated):
    table, truth = annotated
    accuracy = annotation_metrics(table, truth)["accuracy"].value
    low, high = interval(annotation_resampled(table, truth, cell_weights(N, seed=0))["accuracy"])
    error = np.sqrt(accuracy * (1 - accuracy) / N)
    assert low == pytest.approx(accuracy - 1.96 * error, abs=0.4 * error)
    assert high == pytest.approx(accuracy + 1.96 * error, abs=0.4 * error)


def test_draws_are_fixed_by_the_seed():
    np.testing.assert_array_equal(cell_weights(50, 1), cell_weights(50, 1))
    assert not np.array_equal(cell_weights(50, 1), cell_weights(50, 2))
    assert (cell_weights(50, 1).sum(axis=1) == 50).all()


def test_donors_are_drawn_with_all_their_cells_where_there_are_four():
    donors = pd.Series(np.repeat(["a", "b", "c", "d"], [10, 20, 30, 40]))
    weights = donor_weights(donors, seed=0)
    assert weights.sum(axis=1) == pytest.approx(100)
    for name in "abcd":
        own = weights[:, (donors == name).to_numpy()]
        assert (own == own[:, :1]).all()
    assert donor_weights(donors[donors != "d"], seed=0) is None
    assert donor_weights(donors.where(donors.index != 3), seed=0) is None


def test_f1_of_every_type_with_its_cells(annotated):
    table, truth = annotated
    found = type_f1(table, truth)
    assert sum(support for _, support in found.values()) == N
    mean = np.mean([value for value, _ in found.values()])
    assert mean == pytest.approx(annotation_metrics(table, truth)["macro_f1"].value)


def test_thirds_by_depth():
    depth = np.arange(100)[::-1]
    parts = dict(terciles(depth))
    assert [len(part) for part in parts.values()] == [34, 33, 33]
    assert depth[parts["depth_low"]].max() < depth[parts["depth_mid"]].min()
    assert not list(terciles(np.arange(29)))


def test_depth_is_read_from_an_embedding_that_holds_it():
    rng = np.random.default_rng(0)
    depth = rng.integers(100, 10_000, 300)
    noise = rng.normal(size=(300, 5))
    assert depth_r2(noise, depth).value < 0.05
    assert depth_r2(np.column_stack([noise, np.log(depth)]), depth).value > 0.99
    assert depth_r2(noise, np.full(300, 7)).note == "all cells have the same depth"
    assert depth_r2(noise[:9], depth[:9]).note == "9 cells are too few to regress depth on"
