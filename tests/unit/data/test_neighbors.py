import numpy as np
import pytest

from epifoundation.data.neighbors import (
    WeightedNeighbors,
    nearest_graph,
    nearest_lists,
    shared_neighbors,
    weighted_neighbors,
)
from epifoundation.errors import DataError


def two_views(n_cells=120, seed=0):
    """Four groups of cells: the first view tells groups 0 1 from 2 3, the second all four."""
    rng = np.random.default_rng(seed)
    group = np.arange(n_cells) % 4
    centres = 4 * rng.standard_normal((4, 10))
    second = centres[group] + rng.standard_normal((n_cells, 10))
    first = centres[group // 2 * 2] + rng.standard_normal((n_cells, 10))
    return group, (first, second)


def test_jaccard_by_hand():
    lists = np.array([[0, 1], [1, 2], [2, 3], [3, 0]])
    expected = np.array([[1, 1 / 3, 0, 1 / 3], [1 / 3, 1, 1 / 3, 0]])
    np.testing.assert_allclose(shared_neighbors(lists).toarray()[:2], expected)


def test_nearest_lists_are_exact_for_few_cells():
    rows = np.random.default_rng(0).standard_normal((40, 5))
    [(lists, distances)] = nearest_lists(rows, 6)
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    np.testing.assert_array_equal(lists, np.argsort(apart, axis=1)[:, :6])
    np.testing.assert_allclose(distances, np.sort(apart, axis=1)[:, :6], atol=1e-6)


def test_neighbours_join_what_both_views_see():
    group, views = two_views()
    found = weighted_neighbors(views, n_neighbors=10, neighbor_range=60)
    assert found.neighbors.shape == (120, 10)
    assert (group[found.neighbors] == group[:, None]).mean() > 0.95
    assert (found.neighbors != np.arange(120)[:, None]).all()
    assert (np.diff(found.distances, axis=1) >= 0).all()
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)
    assert found.weights[:, 1].mean() > 0.5  # the view that tells all groups counts for more


def test_the_graph_is_symmetric_with_ones_on_the_diagonal():
    _, views = two_views()
    found = weighted_neighbors(views, n_neighbors=10, neighbor_range=60)
    graph = found.shared_graph()
    assert abs(graph - graph.T).max() == 0
    assert (graph.diagonal() == 1).all()
    assert graph.data.min() >= 1 / 15


def test_weak_edges_are_dropped():
    # cells 0 and 1 share one of twenty neighbours: 1 / 39 lies below 1 / 15
    lists = np.array([np.arange(20), np.arange(19, 39), *[np.arange(39, 59)] * 57])
    found = WeightedNeighbors(lists, lists * 0.0, lists[:, :2] * 0.0)
    assert found.shared_graph()[0, 1] == 0
    assert found.shared_graph()[2, 3] == 1


def test_duplicated_cells_are_no_trouble():
    _, (first, second) = two_views()
    first[1], second[1] = first[0], second[0]
    found = weighted_neighbors((first, second), n_neighbors=10, neighbor_range=60)
    assert found.neighbors[0, 0] == 1
    assert found.neighbors[1, 0] == 0
    assert np.isfinite(found.distances).all()


def test_fewer_cells_than_candidates_is_an_error_with_a_way_out(caplog):
    _, views = two_views(n_cells=60)
    with pytest.raises(DataError, match=r"60 cells are fewer than the 200 .*small_samples: true"):
        weighted_neighbors(views, n_neighbors=20, neighbor_range=200)
    found = weighted_neighbors(views, n_neighbors=20, neighbor_range=200, small_samples=True)
    assert found.neighbors.shape == (60, 20)
    (warning,) = caplog.records
    assert "60 cells: 59 candidates per modality instead of 200" in warning.getMessage()
    assert "departs from Seurat" in warning.getMessage()


def test_shorter_lists_of_few_cells_are_warned_of(caplog):
    rows = np.random.default_rng(0).standard_normal((16, 5))
    nearest_graph(rows, n_neighbors=16)
    assert not caplog.records
    nearest_graph(rows, n_neighbors=20, small_samples=True)
    assert "16 cells: lists of 8 nearest cells instead of 20" in caplog.text
