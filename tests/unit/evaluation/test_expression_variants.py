"""Expression metrics beside the paper's three: by hand, and what they are there to tell apart."""

import math

import numpy as np
import pytest
from scipy import sparse, stats

from epifoundation.evaluation.expression import (
    EXPRESSION_METRICS,
    GENES_AT_ONCE,
    expression_metrics,
)
from epifoundation.evaluation.expression_variants import (
    EXPRESSION_VARIANTS,
    Beside,
    balanced_error,
    without_line,
    without_type_means,
)


def beside(types, depth, normal, **others):
    types, depth = np.array(types), np.array(depth)
    return Beside(types, depth, sparse.csr_matrix(normal), seed=0, **others)


@pytest.fixture
def cells():
    """Levels that follow type, depth and a cell's own part, in more than one block of genes."""
    rng = np.random.default_rng(0)
    n_cells, n_genes = 90, GENES_AT_ONCE + 7
    types, depth = rng.integers(0, 3, n_cells), rng.integers(100, 5000, n_cells)
    by_type = 3.0 * rng.normal(size=(3, n_genes))[types]
    by_depth = 2.0 * np.log1p(depth)[:, None]
    own = rng.normal(size=(n_cells, n_genes))
    levels = np.clip(np.round(by_type + by_depth + own - 12), 0, 9)
    return types, depth, levels, by_type, by_depth, own


def test_all_are_told_and_the_papers_are_the_same(cells):
    types, depth, levels, _, _, own = cells
    target, predicted = sparse.csr_matrix(levels), own.astype(np.float32)
    alone = expression_metrics(target, predicted)
    scores = expression_metrics(target, predicted, beside(types, depth, np.log1p(levels)))
    assert list(scores) == [*EXPRESSION_METRICS, *EXPRESSION_VARIANTS]
    assert {name: scores[name] for name in EXPRESSION_METRICS} == alone


def test_types_alone_correlate_with_nothing_within_types(cells):
    types, depth, levels, by_type, _, own = cells
    around = beside(types, depth, np.log1p(levels))
    known = expression_metrics(sparse.csr_matrix(levels), by_type, around)
    assert known["pearson"].value > 0.5
    assert abs(known["pearson_within_type"].value) < 1e-9
    assert abs(known["spearman_within_type"].value) < 1e-9
    assert (
        expression_metrics(sparse.csr_matrix(levels), own, around)["pearson_within_type"].value
        > 0.2
    )


def test_depth_alone_correlates_with_nothing_given_depth(cells):
    types, depth, levels, _, by_depth, own = cells
    around = beside(types, depth, np.log1p(levels))
    predicted = np.tile(by_depth, (1, levels.shape[1]))
    known = expression_metrics(sparse.csr_matrix(levels), predicted, around)
    assert known["pearson"].value > 0.2
    assert abs(known["pearson_given_depth"].value) < 1e-9


def test_partial_correlation_is_that_of_residuals(cells):
    types, depth, levels, _, _, own = cells
    x, y, z = levels[:, :4], own[:, :4], np.log1p(depth)
    found = expression_metrics(sparse.csr_matrix(x), y, beside(types, depth, x))
    expected = []
    for gene in range(4):
        xy, xz, yz = (
            stats.pearsonr(a, b).statistic
            for a, b in ((x[:, gene], y[:, gene]), (x[:, gene], z), (y[:, gene], z))
        )
        expected.append((xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2)))
    assert found["pearson_given_depth"].value == pytest.approx(np.mean(expected))


def test_log_normalised_target(cells):
    types, depth, levels, _, _, own = cells
    normal = np.exp(own / 3)
    target = sparse.csr_matrix(levels)
    as_levels = expression_metrics(target, own, beside(types, depth, normal))
    assert as_levels["spearman_log"].value == pytest.approx(1)
    assert 0.9 < as_levels["pearson_log"].value < 1
    assert math.isnan(as_levels["mse_log"].value)
    assert as_levels["mse_log"].note == "predicts levels, which are on another scale"
    as_log = expression_metrics(target, normal + 2, beside(types, depth, normal, predicts_log=True))
    assert as_log["mse_log"].value == pytest.approx(4)


def test_balanced_error_weighs_both_kinds_alike():
    target = np.zeros((2, 100))
    target[0, :10], target[1, :80] = 5, 5
    predicted = np.where(target > 0, 4.0, 2.0)  # errors 1 and 4
    score = balanced_error(sparse.csr_matrix(target), predicted, seed=0)
    assert score.value == pytest.approx(2.5)
    assert score.note == "30 of 100 genes a cell"
    rng = np.random.default_rng(0)
    noisy = predicted + rng.normal(size=target.shape)
    first, again, other = (
        balanced_error(sparse.csr_matrix(target), noisy, seed).value for seed in (1, 1, 2)
    )
    assert first == again != other


def test_no_cell_is_balanced():
    score = balanced_error(sparse.csr_matrix(np.zeros((2, 3))), np.ones((2, 3)), seed=0)
    assert math.isnan(score.value)
    assert score.note


def test_residuals_by_hand():
    values = np.array([[1.0, 0], [3, 0], [7, 5]])
    within = without_type_means(values, np.array([4, 4, 9]))
    np.testing.assert_allclose(within, [[-1, 0], [1, 0], [0, 0]])
    line = without_line(np.array([[1.0], [3], [5]]), np.array([0.0, 1, 2]))
    np.testing.assert_allclose(line, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("types", "depth", "undefined"),
    [
        ([-1, -1, -1, -1], [1, 2, 3, 4], {"pearson_within_type", "spearman_within_type"}),
        ([0, 1, 2, 3], [1, 2, 3, 4], {"pearson_within_type", "spearman_within_type"}),
        ([0, 0, 1, 1], [7, 7, 7, 7], {"pearson_given_depth"}),
    ],
    ids=["no type known", "a type per cell", "one depth"],
)
def test_undefined_scores_say_why(types, depth, undefined):
    levels = np.array([[0, 1, 2], [1, 0, 2], [3, 1, 2], [0, 4, 2]])
    predicted = levels + np.array([[0.0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0]])
    scores = expression_metrics(sparse.csr_matrix(levels), predicted, beside(types, depth, levels))
    found = {name for name, score in scores.items() if math.isnan(score.value)}
    assert found == undefined | {"mse_log"}
    assert all(scores[name].note for name in found)


def test_cells_without_a_type_are_left_out_within_types(cells):
    types, depth, levels, _, _, own = cells
    some = np.where(np.arange(len(types)) < 10, -1, types)
    target = sparse.csr_matrix(levels)
    scores = expression_metrics(target, own, beside(some, depth, levels))
    expected = expression_metrics(
        target[10:], own[10:], beside(types[10:], depth[10:], levels[10:])
    )
    assert scores["pearson_within_type"].value == pytest.approx(
        expected["pearson_within_type"].value
    )
    assert scores["pearson_within_type"].n_cells == len(types) - 10


def test_broken_and_constant_predictions_have_no_nan(cells):
    types, depth, levels, _, _, _ = cells
    around = beside(types, depth, levels)
    target = sparse.csr_matrix(levels)
    broken = expression_metrics(target, np.full(levels.shape, np.nan), around)
    assert all(math.isnan(score.value) and score.note for score in broken.values())
    flat = expression_metrics(target, np.full(levels.shape, 2.3), around)
    assert {flat[name].value for name in flat if name.startswith(("pearson", "spearman"))} == {0.0}
    constant = expression_metrics(
        sparse.csr_matrix(np.ones((5, 3))),
        np.ones((5, 3)),
        beside([0] * 5, range(5), np.ones((5, 3))),
    )
    assert constant["pearson_within_type"].note == "all 3 genes are constant"
