"""Expression metrics by hand, against scipy, and where they are not defined."""

import math

import numpy as np
import pytest
from scipy import sparse, stats

from epifoundation.errors import EvaluationError
from epifoundation.evaluation.expression import GENES_AT_ONCE, expression_metrics


def test_scores_by_hand():
    target = np.array([[0, 1], [1, 1], [2, 1]])
    predicted = np.array([[0.0, 1], [2, 1], [4, 1]])
    found = expression_metrics(sparse.csr_matrix(target), predicted)
    assert found["mse"].value == pytest.approx((0 + 1 + 4) / 6)
    assert found["pearson"].value == pytest.approx(1)
    assert found["pearson"].note == "1 of 2 genes constant in the test cells, left out"


def test_correlations_are_scipys():
    rng = np.random.default_rng(0)
    n_genes = GENES_AT_ONCE + 10  # more than one block
    target = rng.integers(0, 4, (30, n_genes))
    predicted = rng.normal(size=(30, n_genes)) + target
    found = expression_metrics(sparse.csr_matrix(target), predicted)
    columns = list(zip(target.T, predicted.T, strict=True))
    for name, function in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        expected = np.mean([function(x, y).statistic for x, y in columns])
        assert found[name].value == pytest.approx(expected)


def test_a_constant_prediction_counts_zero():
    target = sparse.csr_matrix([[0, 0], [1, 1], [2, 2]])
    found = expression_metrics(target, np.array([[0.0, 5], [1, 5], [2, 5]]))
    assert found["pearson"].value == pytest.approx(0.5)


def test_constant_genes_have_no_correlation():
    found = expression_metrics(sparse.csr_matrix(np.ones((3, 2))), np.zeros((3, 2)))
    assert found["mse"].value == 1
    assert math.isnan(found["spearman"].value)
    assert found["spearman"].note == "all 2 genes are constant in the test cells"


def test_broken_predictions_score_nothing():
    found = expression_metrics(sparse.csr_matrix(np.eye(3)), np.full((3, 3), np.nan))
    assert all(math.isnan(score.value) for score in found.values())
    assert found["mse"].note == "the prediction of 3 of 3 cells is not finite"


def test_other_genes_are_refused():
    with pytest.raises(EvaluationError, match="differ"):
        expression_metrics(sparse.csr_matrix(np.eye(3)), np.zeros((3, 2)))
