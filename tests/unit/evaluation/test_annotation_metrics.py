"""Annotation metrics by hand, and where they are not defined."""

import math

import numpy as np
import pandas as pd
import pytest

from epifoundation.errors import EvaluationError
from epifoundation.evaluation.annotation import annotation_metrics, prediction_table

CELLS = pd.Index(["a", "b", "c", "d"])


def scored(scores, truth, names=("T", "B")):
    table = prediction_table(CELLS, np.array(scores), list(names))
    return annotation_metrics(table, pd.Series(truth, index=CELLS))


def test_scores_by_hand():
    # Predicted T T B B, true T T T B. F1: T 2·2/(2+3) = .8, B 2·1/(2+1) = 2/3.
    found = scored([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]], ["T", "T", "T", "B"])
    assert found["accuracy"].value == 0.75
    assert found["micro_f1"].value == 0.75
    assert found["macro_f1"].value == pytest.approx((0.8 + 2 / 3) / 2)
    assert found["roc_auc"].value == 1


def test_the_first_of_equal_scores_is_predicted():
    table = prediction_table(CELLS, np.full((4, 2), 0.5), ["T", "B"])
    assert set(table["predicted_cell_type"]) == {"T"}


def test_a_predicted_type_that_does_not_occur_counts_zero():
    found = scored(
        [[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.9, 0], [0, 0, 1]], ["T", "T", "B", "B"], "TBN"
    )
    assert found["macro_f1"].value == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["macro_f1"].note == "1 predicted types do not occur and count 0"
    assert found["roc_auc"].note == "1 types that do not occur left out"


def test_a_type_missing_from_training_counts_half_an_auc():
    found = scored([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.5, 0.5]], ["T", "T", "B", "N"])
    assert found["roc_auc"].value == pytest.approx((1 + 1 + 0.5) / 3)
    assert found["roc_auc"].note == "never scored, counted 0.5: N"


def test_one_type_has_no_auc():
    found = scored([[1, 0]] * 4, ["T"] * 4)
    assert math.isnan(found["roc_auc"].value)
    assert found["roc_auc"].note == "one cell type only"
    assert found["accuracy"].value == 1


def test_other_cells_are_refused():
    table = prediction_table(CELLS, np.full((4, 2), 0.5), ["T", "B"])
    with pytest.raises(EvaluationError, match="1 of them unknown"):
        annotation_metrics(table, pd.Series("T", index=["a", "b", "c", "x"]))
