import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from epifoundation.data.expression import (
    bin_expression,
    log_normalize,
    pca,
    scale_genes,
    variable_genes,
    variance_table,
)
from epifoundation.errors import DataError


def test_log_normalize_by_hand():
    counts = sparse.csr_matrix(np.array([[1, 3], [0, 0]]))
    expected = [[np.log1p(2500), np.log1p(7500)], [0, 0]]
    np.testing.assert_allclose(log_normalize(counts).toarray(), expected)
    assert counts.dtype.kind == "i"  # the input is left alone


def test_scaled_values_are_capped_above_only():
    values = np.zeros((400, 3))
    values[0, 0], values[1, 1] = 5, -5
    scaled = scale_genes(sparse.csr_matrix(values))
    assert scaled[0, 0] == 10
    assert scaled[1, 1] < -10
    assert (scaled[:, 2] == 0).all()


def test_standardised_variance_by_a_loop():
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(1, 1, 60), (50, 60))
    counts[:, 7] = 2  # constant
    table = variance_table(sparse.csr_matrix(counts))
    for gene in range(60):
        column, row = counts[:, gene], table.iloc[gene]
        np.testing.assert_allclose(row["mean"], column.mean())
        np.testing.assert_allclose(row["variance"], column.var(ddof=1), atol=1e-12)
        if column.var() == 0:
            assert row["variance_standardized"] == 0
            continue
        z = (column - column.mean()) / np.sqrt(row["variance_expected"])
        expected = (np.minimum(z, np.sqrt(50)) ** 2).sum() / 49
        np.testing.assert_allclose(row["variance_standardized"], expected)


def test_planted_variable_genes_come_first():
    rng = np.random.default_rng(1)
    counts = rng.poisson(3, (100, 200))
    counts[:, 17] = rng.choice([0, 6], 100)
    counts[:, 150] = rng.choice([0, 6], 100)
    counts[:, 3] = 0
    assert set(variable_genes(sparse.csr_matrix(counts), 2)) == {17, 150}
    assert len(variable_genes(sparse.csr_matrix(counts), None)) == 199  # the empty gene is out
    assert 3 not in variable_genes(sparse.csr_matrix(counts), 5000)


def test_pca_finds_the_planted_axis():
    rng = np.random.default_rng(2)
    axis = rng.standard_normal(80)
    values = np.outer(axis, rng.standard_normal(30)) + 0.01 * rng.standard_normal((80, 30))
    components, deviation = pca(values, 5, seed=0)
    assert components.shape == (80, 5)
    assert abs(np.corrcoef(components[:, 0], axis)[0, 1]) > 0.999
    assert (np.diff(deviation) < 0).all()
    again, _ = pca(values, 5, seed=3)
    np.testing.assert_allclose(components, again, atol=1e-8)  # signs do not depend on the seed


def test_pca_of_too_few_cells_is_an_error():
    with pytest.raises(DataError, match="2 cells are too few"):
        pca(np.ones((2, 5)), 2, seed=0)


def test_levels_by_hand():
    # 4 levels: cut at minimum, median and maximum of the cell's own counts
    counts = sparse.csr_matrix(np.array([[0, 1, 2, 4, 9], [0, 0, 0, 3, 0], [0, 0, 0, 0, 0]]))
    levels = bin_expression(counts, 4)
    assert levels.toarray().tolist() == [[0, 1, 1, 2, 3], [0, 0, 0, 3, 0], [0, 0, 0, 0, 0]]
    assert levels.dtype == np.uint8


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(3, 12))
def test_levels_keep_the_order_of_counts(values, n_bins):
    levels = bin_expression(sparse.csr_matrix(np.array([values])), n_bins).toarray()[0]
    order = np.argsort(values, kind="stable")
    assert (np.diff(levels[order].astype(int)) >= 0).all()
    assert levels.min() >= 1
    assert levels[np.argmax(values)] == n_bins - 1


def test_levels_ignore_depth():
    counts = sparse.csr_matrix(np.random.default_rng(3).poisson(2, (20, 40)))
    levels, normal = bin_expression(counts, 10), bin_expression(log_normalize(counts), 10)
    # rounding may move a value that lies on an interpolated edge; nothing else may differ
    assert np.mean(levels.data != normal.data) < 0.02


def test_genes_of_few_cells_that_share_means_are_fitted_with_a_warning(caplog):
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(0.5, 1, 60), (20, 60)))
    table = variance_table(counts)
    assert re.search(r"loess over \d+ genes: (reciprocal|There are other near)", caplog.text)
    assert np.isfinite(table).all(axis=None)
    assert table["variance_standardized"].max() > 1.2


@pytest.mark.parametrize(
    ("n_cells", "n_genes", "message"),
    [(3, 2000, r"variance of \d+ genes cannot be fitted"), (10, 12, r"different means: too few")],
)
def test_too_few_cells_or_genes_for_vst_say_the_way_out(n_cells, n_genes, message):
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(0.5, 1, n_genes), (n_cells, n_genes)))
    with pytest.raises(DataError, match=f"{message}.*cluster.n_variable_genes: null"):
        variance_table(counts)
