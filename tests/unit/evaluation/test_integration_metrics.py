"""Integration metrics on cells whose scores are known, and where no score is defined."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics.pairwise import cosine_distances

from epifoundation.errors import EvaluationError
from epifoundation.evaluation.embedded import Labelled, begin_leiden, neighbor_graph
from epifoundation.evaluation.integration import (
    INTEGRATION_METRICS,
    batch_silhouette,
    graph_connectivity,
    integration_metrics,
    isolated_label_score,
    type_silhouette,
)
from epifoundation.evaluation.integration_variants import (
    VARIANT_METRICS,
    adapted_batch_silhouette,
    neighbour_purity,
    overall_batch_silhouette,
    silhouettes_against_all,
)
from epifoundation.evaluation.lisi import (
    Neighbourhoods,
    _compiled_nearest,
    inverse_simpson,
    nearest_by_path,
    neighbor_probabilities,
    neighbourhoods,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def labelled(embedding, types, batches):
    names = tuple(f"type{code}" for code in range(max(types) + 1))
    return Labelled(np.array(embedding, dtype=float), np.array(types), np.array(batches), names)


def clusters(rng, n_per_type, n_types=3, distance=20.0):
    types = np.repeat(np.arange(n_types), n_per_type)
    embedding = rng.normal(size=(len(types), 4)) + distance * types[:, None]
    return embedding, pd.Series([f"type{code}" for code in types])


def test_separate_types_and_mixed_batches_score_high(rng):
    embedding, types = clusters(rng, 50)
    batches = pd.Series(rng.choice(["a", "b"], len(types)))
    batches[types == "type0"] = "a"
    scores = integration_metrics(embedding, types, batches)
    assert list(scores) == list(INTEGRATION_METRICS)
    assert scores["nmi"].value == pytest.approx(1)
    assert scores["gc"].value == 1
    assert min(scores[name].value for name in ("iso", "casw", "basw")) > 0.8
    assert scores["iso"].note == "isolated types (cells): type0 (50)"
    assert scores["basw"].note == "1 types in one batch left out"


def test_shuffled_types_score_low(rng):
    embedding, types = clusters(rng, 50)
    shuffled = types.sample(frac=1, random_state=0, ignore_index=True)
    scores = integration_metrics(embedding, shuffled, pd.Series(["a", "b"] * 75))
    assert scores["nmi"].value < 0.1
    assert scores["casw"].value < 0.55


def test_silhouettes_by_hand():
    # On a line: type 0 at 0 and 2, type 1 at 10 and 12. a = 2 for all; b = 11, 9, 9, 11.
    cells = labelled([[0], [2], [10], [12]], [0, 0, 1, 1], [0, 1, 0, 0])
    silhouettes = np.array([1 - 2 / 11, 1 - 2 / 9, 1 - 2 / 9, 1 - 2 / 11])
    assert type_silhouette(cells, silhouettes).value == pytest.approx((silhouettes.mean() + 1) / 2)
    score = isolated_label_score(cells, silhouettes)  # type 1 is in batch 0 only
    assert score.value == pytest.approx((silhouettes[2:].mean() + 1) / 2)


def test_batch_silhouette_by_hand():
    # Batch 0 at 0 and 1, batch 1 at 10 and 11, one type: a = 1; b = 10.5, 9.5, 9.5, 10.5.
    cells = labelled([[0], [1], [10], [11]], [0] * 4, [0, 0, 1, 1])
    assert batch_silhouette(cells).value == pytest.approx((1 / 10.5 + 1 / 9.5) / 2)


def test_graph_connectivity_by_hand():
    # Type 0: cells 0-1 joined, 2 apart (2/3). Type 1: 3-4 joined only through type 0 (1/2).
    edges = [(0, 1), (2, 3), (2, 4)]
    graph = np.zeros((5, 5))
    for i, j in edges:
        graph[i, j] = graph[j, i] = 1
    cells = labelled(np.zeros((5, 1)), [0, 0, 0, 1, 1], [0] * 5)
    score = graph_connectivity(cells, sparse.csr_matrix(graph))
    assert score.value == pytest.approx((2 / 3 + 1 / 2) / 2)


@pytest.mark.parametrize(
    ("types", "batches", "undefined"),
    [
        (["x"] * 40, ["a", "b"] * 20, {"iso", "nmi", "casw", "clisi"}),
        (["x", "y"] * 20, ["a"] * 40, {"iso", "basw", "clisi"}),
        (["x", "x", "y", "y"] * 10, ["a", "b"] * 20, {"iso", "clisi"}),
    ],
    ids=["one type", "one batch", "every type in every batch"],
)
def test_undefined_scores_say_why(rng, types, batches, undefined):
    scores = integration_metrics(rng.normal(size=(40, 3)), pd.Series(types), pd.Series(batches))
    assert {name for name, score in scores.items() if math.isnan(score.value)} == undefined
    assert all(scores[name].note for name in undefined)


def test_a_type_of_one_cell_is_scored(rng):
    embedding, types = clusters(rng, 20)
    types[0] = "rare"
    scores = integration_metrics(embedding, types, pd.Series(["a", "b"] * 30))
    assert scores["iso"].note == "isolated types (cells): rare (1)"
    assert 0 <= scores["iso"].value <= 1


def test_broken_embeddings_score_nothing(rng):
    embedding, types = clusters(rng, 20)
    embedding[3, 1] = np.nan
    scores = integration_metrics(embedding, types, pd.Series(["a", "b"] * 30))
    assert all(math.isnan(score.value) for score in scores.values())
    assert {score.note for score in scores.values()} == {
        "the embedding of 1 of 60 cells is not finite"
    }


def test_other_cells_are_refused(rng):
    with pytest.raises(EvaluationError, match="10 embedded cells, 9 cell types"):
        integration_metrics(rng.normal(size=(10, 2)), pd.Series(["x"] * 9), pd.Series(["a"] * 9))


def random_graph(rng, n_cells):
    dense = np.triu(rng.random((n_cells, n_cells)) * (rng.random((n_cells, n_cells)) < 0.15), 1)
    return sparse.csr_matrix(dense + dense.T)


@pytest.mark.parametrize("kernel", [nearest_by_path, _compiled_nearest], ids=["plain", "compiled"])
def test_nearest_by_path_is_dijkstra(rng, kernel):
    graph = random_graph(rng, 40)
    expected = sparse.csgraph.dijkstra(graph, directed=False)
    for start in range(40):
        indices = graph.indices.astype(np.int64)
        found, distances = kernel(graph.indptr, indices, graph.data, start, 12)
        others = np.delete(expected[start], start)
        np.testing.assert_allclose(distances, np.sort(others)[:12])
        np.testing.assert_allclose(expected[start][found], distances)


def test_inverse_simpson_between_one_and_the_number_of_types(rng):
    graph = random_graph(rng, 60)
    near = neighbourhoods(graph, 30)
    np.testing.assert_allclose(inverse_simpson(near, np.zeros(60, dtype=int)), 1)
    mixed = inverse_simpson(near, np.arange(60) % 3)
    assert 2 < np.median(mixed) <= 3
    # fewer neighbours than asked count as 1, as in scib
    unreachable = inverse_simpson(neighbourhoods(graph, 60), np.arange(60) % 3)
    np.testing.assert_array_equal(unreachable, 1)


def test_inverse_simpson_by_hand():
    near = Neighbourhoods(
        np.array([[1, 2], [0, 2], [0, 1]]),
        np.array([[0.5, 0.5], [0.25, 0.75], [0.5, 0.5]]),
        np.array([np.nan, np.nan, 1.0]),
    )
    values = inverse_simpson(near, np.array([0, 0, 1]))
    np.testing.assert_allclose(values, [2, 1 / (0.25**2 + 0.75**2), 1])


def test_probabilities_have_the_perplexity(rng):
    weights = neighbor_probabilities(rng.random(90), np.log(30))
    assert weights.sum() == pytest.approx(1)
    assert np.exp(-(weights * np.log(weights)).sum()) == pytest.approx(30, rel=1e-4)


def test_many_cells_have_a_graph(rng):
    # beyond 4,096 cells scanpy finds neighbours by another library
    graph = neighbor_graph(rng.normal(size=(4_200, 3)))
    assert graph.connectivities.shape == (4_200, 4_200)
    assert (np.diff(graph.distances.indptr) == 14).all()


def test_overall_batch_silhouette_by_hand():
    # Batch 0 at 0 and 1, batch 1 at 10 and 11: a = 1; b = 10.5, 9.5, 9.5, 10.5.
    cells = labelled([[0], [1], [10], [11]], [0] * 4, [0, 0, 1, 1])
    assert overall_batch_silhouette(cells).value == pytest.approx((1 / 10.5 + 1 / 9.5) / 2)


def test_neighbour_purity_by_hand():
    distances = sparse.csr_matrix([[0, 1, 2], [1, 0, 0], [3, 1, 0]])
    cells = labelled(np.zeros((3, 1)), [0, 0, 1], [0] * 3)
    assert neighbour_purity(cells, distances).value == pytest.approx((1 / 2 + 1 + 0) / 3)


def test_silhouettes_against_all_are_the_plain_ones(rng):
    embedding, batches = rng.normal(size=(30, 4)), np.repeat([0, 1, 2], 10)
    distances = cosine_distances(embedding)
    expected = []
    for i in range(30):
        own = (batches == batches[i]) & (np.arange(30) != i)
        a = distances[i, own].mean()
        others = set(batches) - {batches[i]}
        b = np.mean([distances[i, batches == other].mean() for other in others])
        expected.append((b - a) / max(a, b))
    np.testing.assert_allclose(silhouettes_against_all(embedding, batches), expected)


def test_one_batch_apart_is_seen_only_against_all(rng):
    """Two batches mixed and a third far away: the nearest batch hides the third."""
    batches = np.repeat([0, 1, 2], 40)
    embedding = rng.normal(size=(120, 6)) + np.where(batches == 2, 8, 0)[:, None] * np.eye(6)[0]
    mixed = labelled(embedding, [0] * 120, batches)
    alone = labelled(rng.normal(size=(120, 6)), [0] * 120, batches)
    assert adapted_batch_silhouette(mixed).value < 0.8 * adapted_batch_silhouette(alone).value


def test_variants_are_added_on_request(rng):
    embedding, types = clusters(rng, 100)
    batches = pd.Series(rng.choice(["a", "b"], len(types)))
    scores = integration_metrics(embedding, types, batches, variants=True)
    assert list(scores) == [*INTEGRATION_METRICS, *VARIANT_METRICS]
    assert scores["gc_text"].value == 1
    assert scores["nmi_resolution_1"].value <= scores["nmi"].value
    assert scores["ilisi"].value > 0.5
    apart = integration_metrics(
        embedding, types, pd.Series(np.where(types == "type0", "a", "b")), variants=True
    )
    assert apart["ilisi"].value < 0.1
    assert math.isnan(apart["bras"].value)


def test_shared_clustering_is_the_same(rng, monkeypatch):
    monkeypatch.setattr("epifoundation.evaluation.embedded.FEWEST_TO_SHARE", 10)
    graph = neighbor_graph(rng.normal(size=(60, 3))).connectivities
    alone = begin_leiden(graph, (0.4, 1.0, 2.0), threads=1)()
    shared = begin_leiden(graph, (0.4, 1.0, 2.0), threads=2)()
    assert list(shared) == [0.4, 1.0, 2.0]
    assert shared == alone


BOTH = (*INTEGRATION_METRICS, *VARIANT_METRICS)
ONE_TYPE = {"iso", "nmi", "casw", "clisi", "nmi_resolution_1", "ari"}
ONE_BATCH = {"iso", "basw", "basw_text", "bras", "ilisi"}


def names_of(n, kinds):
    return pd.Series([kinds[i % len(kinds)] for i in range(n)])


# umap's, of cells at one place
@pytest.mark.filterwarnings("ignore:Changing the sparsity structure")
@pytest.mark.parametrize("n_cells", [4, 5, 12, 120])
@pytest.mark.parametrize(
    ("types", "batches", "undefined"),
    [
        (["x"], ["a", "b"], ONE_TYPE),
        (["x", "y"], ["a"], ONE_BATCH),
        (["x"], ["a"], ONE_TYPE | ONE_BATCH),
        (["x", "y", "y"], ["a", "a", "b", "b"], set()),
    ],
    ids=["one type", "one batch", "one of both", "two of both"],
)
def test_every_score_is_a_number_or_says_why(rng, n_cells, types, batches, undefined):
    for embedding in (
        rng.normal(size=(n_cells, 3)),
        np.ones((n_cells, 3)),  # all cells at one place
        np.zeros((n_cells, 1)),
        np.repeat(rng.normal(size=(1 + n_cells // 4, 2)), 4, axis=0)[:n_cells],  # duplicates
    ):
        scores = integration_metrics(
            embedding, names_of(n_cells, types), names_of(n_cells, batches), variants=True
        )
        assert set(scores) == set(BOTH)
        for name, score in scores.items():
            if math.isnan(score.value):
                assert score.note, name
            else:
                assert (-0.5 if name == "ari" else -0.05) <= score.value <= 1.05, (name, score)
        assert undefined <= {name for name, score in scores.items() if math.isnan(score.value)}


@pytest.mark.parametrize("types", [list("abcdefgh"), list("abcdefgg")], ids=["each", "all but two"])
def test_types_of_a_single_cell(rng, types):
    batches = pd.Series(["a", "b"] * 4)
    scores = integration_metrics(rng.normal(size=(8, 3)), pd.Series(types), batches, variants=True)
    assert all(score.note for score in scores.values() if math.isnan(score.value))
    assert scores["iso"].note


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_embeddings_have_no_variant_either(rng, value):
    embedding, types = clusters(rng, 20)
    embedding[3, 1] = value
    batches = pd.Series(["a", "b"] * 30)
    scores = integration_metrics(embedding, types, batches, variants=True)
    assert set(scores) == set(BOTH)
    assert all(math.isnan(score.value) and score.note for score in scores.values())


def test_unused_categories_and_missing_labels(rng):
    embedding, types = clusters(rng, 20)
    wider = types.astype(pd.CategoricalDtype([*types.unique(), "never seen"]))
    batches = pd.Series(["a", "b"] * 30)
    scores = integration_metrics(embedding, wider, batches)
    assert scores == integration_metrics(embedding, types, batches)
    wider[0] = np.nan
    missing = integration_metrics(embedding, wider, batches)
    assert {score.note for score in missing.values()} == {"1 of 60 test cells have no type"}
