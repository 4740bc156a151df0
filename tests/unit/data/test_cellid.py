import numpy as np
from scipy.stats import spearmanr

from epifoundation.data.cellid import KEPT_TYPES, most_variable, one_round, spearman, two_rounds


def test_spearman_by_hand():
    one = np.array([[1, 2, 3], [5, 5, 5]])
    other = np.array([[10, 20, 30], [3, 1, 0], [1, 1, 2]])
    scores = spearman(one, other)
    np.testing.assert_allclose(scores[0], [1, -1, np.sqrt(0.75)])
    assert (scores[1] == -np.inf).all()


def test_most_variable_genes_come_first_and_ties_keep_their_order():
    reference = np.array([[0, 0, 0, 5, 0], [1, 9, 1, 5, 1]])
    assert most_variable(reference, 10).tolist() == [1, 0, 2, 4, 3]
    assert most_variable(reference, 2).tolist() == [1, 0]


def test_round_two_ranks_the_twenty_best_by_the_genes_that_vary_among_them():
    rng = np.random.default_rng(0)
    reference = rng.gamma(1, 1, (30, 200))
    means = reference[[3, 8]] * rng.gamma(4, 1 / 4, (2, 200))
    scores = two_rounds(means, reference, 50)
    for cluster in range(2):
        first = [spearmanr(means[cluster], profile).statistic for profile in reference]
        best = np.sort(np.argsort(first)[::-1][:KEPT_TYPES])
        assert np.flatnonzero(np.isfinite(scores[cluster])).tolist() == best.tolist()
        genes = np.argsort(reference[best].var(axis=0))[::-1][:50]
        for kind in best:
            expected = spearmanr(means[cluster, genes], reference[kind, genes]).statistic
            np.testing.assert_allclose(scores[cluster, kind], expected)
    assert scores.argmax(axis=1).tolist() == [3, 8]


def test_up_to_twenty_types_need_no_first_round():
    rng = np.random.default_rng(1)
    reference, means = rng.gamma(1, 1, (KEPT_TYPES, 100)), rng.gamma(1, 1, (4, 100))
    np.testing.assert_allclose(
        two_rounds(means, reference, 30), one_round(means, reference, 30), rtol=1e-12
    )
