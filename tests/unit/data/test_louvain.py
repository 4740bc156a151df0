import itertools

import numpy as np
import pytest
from scipy import sparse

from epifoundation.data.louvain import (
    MODULUS_MASK,
    MULTIPLIER,
    _join_singletons,
    _random_below,
    louvain,
    modularity,
)
from epifoundation.errors import DataError


def cliques(*sizes, bridge=0.1):
    """Complete graphs, each joined to the next by one weak edge."""
    blocks = [np.ones((size, size)) for size in sizes]
    graph = sparse.lil_matrix(sparse.block_diag(blocks))
    for end in np.cumsum(sizes)[:-1]:
        graph[end - 1, end] = graph[end, end - 1] = bridge
    return graph.tocsr()


def test_cliques_are_found_and_numbered_by_size():
    labels = louvain(cliques(4, 6, 5), resolution=1, seed=0)
    assert labels.tolist() == [2] * 4 + [0] * 6 + [1] * 5


def test_diagonal_is_ignored():
    graph = cliques(4, 6)
    heavy = graph + sparse.diags(np.full(10, 50.0))
    assert (louvain(heavy, resolution=1, seed=0) == louvain(graph, resolution=1, seed=0)).all()


def test_low_resolution_makes_one_cluster():
    assert set(louvain(cliques(4, 6, bridge=0.5), resolution=0.01, seed=0)) == {0}


def test_lone_cell_joins_the_cluster_it_shares_most_with_on_average():
    graph = sparse.lil_matrix((6, 6))
    graph[5, 0] = 0.3  # a third of it for each of three cells
    graph[5, 3] = 0.25  # half of it for each of two cells
    labels = np.array([0, 0, 0, 1, 1, 2])
    assert _join_singletons(labels, graph.tocsr()).tolist() == [0, 0, 0, 1, 1, 1]


def test_cells_that_are_all_alone_stay_so():
    assert sorted(louvain(cliques(2, 2), resolution=1000, seed=0)) == [0, 1, 2, 3]


def test_no_partition_of_a_small_graph_is_better():
    rng = np.random.default_rng(0)
    upper = np.triu(rng.random((7, 7)) * (rng.random((7, 7)) < 0.5), 1)
    graph = sparse.csr_matrix(upper + upper.T)
    found = modularity(graph, louvain(graph, resolution=1, seed=0), resolution=1)
    every = itertools.product(range(4), repeat=7)
    best = max(modularity(graph, np.array(labels), resolution=1) for labels in every)
    assert found == pytest.approx(best)


def test_modularity_by_hand():
    # two pairs, each one edge: half the weight expected within by chance
    graph = sparse.csr_matrix(np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]))
    assert modularity(graph, np.array([0, 0, 1, 1]), resolution=1) == pytest.approx(0.5)


def test_random_numbers_are_those_of_java():
    # new java.util.Random(0).nextInt(10), ten times
    state = np.array([0 ^ MULTIPLIER & MODULUS_MASK], np.int64)
    assert [_random_below(10, state) for _ in range(10)] == [0, 8, 9, 7, 5, 3, 1, 1, 9, 4]


def test_graph_without_edges_is_an_error():
    with pytest.raises(DataError, match="5 cells has no edge"):
        louvain(sparse.identity(5, format="csr"), resolution=1, seed=0)
