import numpy as np
import pytest
from scipy import sparse

from epifoundation.data.latent import lsi, tf_idf, top_features, truncated_svd
from epifoundation.errors import DataError


def test_tf_idf_by_hand():
    counts = sparse.csr_matrix(np.array([[1, 1, 0], [0, 3, 0]]))
    expected = [
        [np.log1p(1 / 2 * 2 / 1 * 1e4), np.log1p(1 / 2 * 2 / 4 * 1e4), 0],
        [0, np.log1p(3 / 3 * 2 / 4 * 1e4), 0],
    ]
    np.testing.assert_allclose(tf_idf(counts).toarray(), expected)


def test_top_features_by_hand():
    counts = sparse.csr_matrix(np.array([[5, 0, 2, 5], [0, 0, 1, 0]]))
    # totals 5 0 3 5, so percentiles 1, .25, .5, 1
    assert top_features(counts, percentile=0).tolist() == [0, 3, 2, 1]
    assert top_features(counts, percentile=0.25).tolist() == [0, 3, 2]
    assert top_features(counts, percentile=0.5).tolist() == [0, 3]


def test_svd_rebuilds_a_matrix_of_low_rank():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((30, 3)) @ rng.standard_normal((3, 20))
    u, d, v = truncated_svd(matrix, 3, seed=0)
    np.testing.assert_allclose(u * d @ v.T, matrix, atol=1e-10)
    assert (v[np.abs(v).argmax(axis=0), range(3)] > 0).all()
    assert truncated_svd(matrix, 500, seed=0)[1].shape == (19,)


@pytest.mark.parametrize("shape", [(90, 200), (200, 90), (3, 40)])
def test_threads_alter_no_digit(shape):
    dense = np.random.default_rng(2).poisson(0.3, shape).astype(np.float64)
    dense[1] = 0
    counts = sparse.csr_matrix(dense)
    one = truncated_svd(counts, 10, seed=0)
    for n_threads in (2, 5):
        for part, same in zip(
            truncated_svd(counts, 10, seed=0, n_threads=n_threads), one, strict=True
        ):
            np.testing.assert_array_equal(part, same)


def test_svd_of_one_cell_is_an_error():
    with pytest.raises(DataError, match="1 cells × 5 features"):
        truncated_svd(np.ones((1, 5)), 2, seed=0)


def test_lsi_is_scaled_over_cells():
    counts = sparse.csr_matrix(np.random.default_rng(1).poisson(1, (40, 60)))
    embedding, singular = lsi(tf_idf(counts), 4, seed=0)
    np.testing.assert_allclose(embedding.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(embedding.std(axis=0, ddof=1), 1)
    expected = np.linalg.svd(tf_idf(counts).toarray(), compute_uv=False)[:4]
    np.testing.assert_allclose(singular, expected)
