"""Louvain clusters of a neighbour graph, number for number as Seurat's FindClusters finds them.

Seurat runs the modularity optimiser of Waltman and van Eck (2013): ten random starts, each of up
to ten rounds of moving single cells and then whole clusters, and one stream of Java's random
numbers through all of them.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from epifoundation.data.compiled import compiled
from epifoundation.errors import DataError

N_STARTS = 10  # Seurat FindClusters, n.start
N_ROUNDS = 10  # Seurat FindClusters, n.iter
# java.util.Random: multiplier, increment and modulus of its 48-bit linear congruence
MULTIPLIER, INCREMENT, MODULUS_MASK = 0x5DEECE66D, 0xB, (1 << 48) - 1

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]


def louvain(graph: sparse.csr_matrix, *, resolution: float, seed: int) -> Labels:
    """Return the cluster of each node of a symmetric weighted graph, 0 the largest.

    The diagonal of `graph` is ignored. A cluster of a single node joins the cluster with which it
    shares most, on average.
    """
    weights = sparse.csr_matrix(graph, dtype=np.float64, copy=True)
    weights.setdiag(0)
    weights.eliminate_zeros()
    weights.sort_indices()
    if not weights.nnz:
        message = f"the neighbour graph of {weights.shape[0]} cells has no edge to cluster by"
        raise DataError(message)
    strength = np.asarray(weights.sum(axis=1)).ravel()
    total = strength.sum()
    state = np.array([(seed ^ MULTIPLIER) & MODULUS_MASK], np.int64)
    best, best_modularity = None, -np.inf
    for _ in range(N_STARTS):
        labels = np.arange(len(strength))
        for _ in range(N_ROUNDS):
            labels, moved = _round(weights, strength, labels, resolution / total, state)
            if not moved:
                break
        reached = modularity(weights, labels, resolution=resolution)
        if reached > best_modularity:
            best, best_modularity = labels, reached
    assert best is not None
    return _join_singletons(_largest_first(best), weights)


def modularity(weights: sparse.csr_matrix, labels: Labels, *, resolution: float) -> float:
    """Return the modularity of `labels` on a symmetric graph without loops."""
    strength = np.asarray(weights.sum(axis=1)).ravel()
    row = np.repeat(np.arange(len(labels)), np.diff(weights.indptr))
    inside = weights.data[labels[row] == labels[weights.indices]].sum()
    squares = (np.bincount(labels, strength) ** 2).sum()
    return float((inside - squares * resolution / strength.sum()) / strength.sum())


def _round(
    weights: sparse.csr_matrix,
    strength: Floats,
    labels: Labels,
    gamma: float,
    state: NDArray[np.int64],
) -> tuple[Labels, bool]:
    """Move nodes, then treat each cluster as a node and go on; say whether anything moved."""
    if len(strength) == 1:
        return labels, False
    labels, moved = _move_nodes(
        weights.indptr, weights.indices, weights.data, strength, labels.copy(), gamma, state
    )
    n_clusters = int(labels.max()) + 1
    if n_clusters < len(strength):
        member = sparse.csr_matrix((np.ones(len(labels)), (np.arange(len(labels)), labels)))
        between = (member.T @ weights @ member).tocsr()
        between.setdiag(0)
        between.eliminate_zeros()
        coarse_strength = np.asarray(np.bincount(labels, strength), np.float64)
        coarse, coarse_moved = _round(between, coarse_strength, np.arange(n_clusters), gamma, state)
        if coarse_moved:
            labels, moved = coarse[labels], True
    return labels, moved


def _largest_first(labels: Labels) -> Labels:
    order = np.argsort(-np.bincount(labels), kind="stable")
    return np.argsort(order)[labels]


def _join_singletons(labels: Labels, weights: sparse.csr_matrix) -> Labels:
    """Merge clusters of one node, which are the last, into those they share most with."""
    sizes = np.bincount(labels)
    larger = np.flatnonzero(sizes > 1)
    if not len(larger):
        return labels
    joined = labels.copy()
    for node in np.flatnonzero(sizes[labels] == 1):
        row = slice(weights.indptr[node], weights.indptr[node + 1])
        shared = np.bincount(labels[weights.indices[row]], weights.data[row], len(sizes))
        joined[node] = larger[np.argmax(shared[larger] / sizes[larger])]
    return joined


@compiled
def _random_below(n: int, state: NDArray[np.int64]) -> int:
    """Java's Random.nextInt(n)."""
    while True:
        state[0] = (state[0] * MULTIPLIER + INCREMENT) & MODULUS_MASK
        bits = state[0] >> 17
        if n & (n - 1) == 0:
            return int((n * bits) >> 31)
        value = bits % n
        if bits - value + (n - 1) < 1 << 31:
            return int(value)


@compiled
def _shuffled(n: int, state: NDArray[np.int64]) -> Labels:
    order = np.arange(n)
    for i in range(n):
        j = _random_below(n, state)
        order[i], order[j] = order[j], order[i]
    return order


@compiled
def _move_nodes(
    indptr: NDArray[np.int32],
    indices: NDArray[np.int32],
    data: Floats,
    strength: Floats,
    labels: Labels,
    gamma: float,
    state: NDArray[np.int64],
) -> tuple[Labels, bool]:
    """Move nodes one by one to the cluster of highest gain, until each would stay where it is."""
    n = len(strength)
    cluster_strength, size = np.zeros(n), np.zeros(n, np.int64)
    for i in range(n):
        cluster_strength[labels[i]] += strength[i]
        size[labels[i]] += 1
    empty, n_empty = np.empty(n + 1, np.int64), 0
    for i in range(n):
        if size[i] == 0:
            empty[n_empty] = i
            n_empty += 1
    order = _shuffled(n, state)
    shared, nearby = np.zeros(n), np.empty(n, np.int64)
    moved, n_content, at = False, 0, 0
    while n_content < n:
        node = order[at]
        at = (at + 1) % n
        old = labels[node]
        n_nearby = 0
        for k in range(indptr[node], indptr[node + 1]):
            cluster = labels[indices[k]]
            if shared[cluster] == 0:
                nearby[n_nearby] = cluster
                n_nearby += 1
            shared[cluster] += data[k]
        cluster_strength[old] -= strength[node]
        size[old] -= 1
        if size[old] == 0:
            empty[n_empty] = old
            n_empty += 1
        best, best_gain = -1, 0.0
        for cluster in nearby[:n_nearby]:
            gain = shared[cluster] - strength[node] * cluster_strength[cluster] * gamma
            if gain > best_gain or (gain == best_gain and cluster < best):
                best, best_gain = cluster, gain
            shared[cluster] = 0
        if best < 0:  # alone is better than with any neighbour
            n_empty -= 1
            best = empty[n_empty]
        cluster_strength[best] += strength[node]
        size[best] += 1
        if best == old:
            n_content += 1
        else:
            labels[node], n_content, moved = best, 1, True
    number, n_used = np.zeros(n, np.int64), 0
    for i in range(n):
        if size[i] > 0:
            number[i] = n_used
            n_used += 1
    return number[labels], moved
