"""The difficulty of the demo, which no model may change."""

from dataclasses import replace

import numpy as np
import pytest

from epifoundation.simulate.controls import control_table, oracle_types, paired_table, rotated
from epifoundation.simulate.design import CELL_TYPES, SIZES
from epifoundation.simulate.planted import plant_multiome

EVALUATION = ("Kidney_1", "Kidney_2", "PBMC_1", "PBMC_2", "BMMC_1", "BMMC_2")


@pytest.fixture(scope="module")
def planted():
    return plant_multiome(0, replace(SIZES["demo"], samples=EVALUATION))


@pytest.fixture(scope="module")
def controls(planted):
    table = control_table(planted, 0)
    return table.pivot(index=["metric", "dataset"], columns="control", values="value")


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_difficulty_is_as_specified(controls, metric):
    values = controls.loc[metric]
    assert list(values.index) == ["BMMC", "Kidney", "PBMC"]
    assert (values["majority"] <= 0.40).all()
    assert (values["depth_only"] <= 0.50).all()
    assert values["lsi_logistic"].between(0.70, 0.90).all()
    assert (values["oracle"] >= 0.93).all()
    assert (values["oracle"] - values["lsi_logistic"] >= 0.08).all()


def test_shuffled_labels_are_at_chance(controls):
    values = controls.loc["accuracy"]
    assert (values["shuffled_labels"] <= values["majority"] + 0.05).all()


def test_shuffled_pairs_are_at_chance(planted):
    values = paired_table(planted, 0).set_index(["dataset", "control"])["value"].unstack()
    assert (values["shuffled_pairs"].abs() < 0.012).all()
    assert (values["paired"] > 0.015).all()


def test_oracle_agrees_with_a_loop(planted):
    cells = planted.samples["Kidney_1"]
    types = set(cells.obs["cell_type"])
    found = oracle_types(planted, "Kidney_1", types)
    is_open = cells.atac[:2].toarray() > 0
    for cell in range(2):
        scores = {}
        for cell_type in sorted(types):
            effect = planted.programme.region_type[CELL_TYPES.index(cell_type)]
            probability = 1 / (1 + np.exp(-(cells.log_odds[cell] + effect)))
            ambient = np.exp(-cells.ambient_rate[cell] * cells.pool_atac)
            seen = 1 - (1 - probability) * ambient
            scores[cell_type] = np.log(np.where(is_open[cell], seen, 1 - seen)).sum()
        assert found[cell] == max(scores, key=scores.get)


def test_rotation_keeps_inner_products(planted):
    binary = (planted.samples["PBMC_1"].atac[:30] > 0).astype(np.float32)
    scores = rotated(binary)
    assert scores @ scores.T == pytest.approx((binary @ binary.T).toarray(), abs=1e-3)
