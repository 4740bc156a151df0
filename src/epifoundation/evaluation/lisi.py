"""Local inverse Simpson index on a neighbour graph, as scib 1.1.7 computes it.

scib calls a compiled helper for the shortest paths, which does not start on every system; the
kernel here is compiled on first use instead. Its edge "lengths" are UMAP connectivities, as there.
"""

import heapq
from collections.abc import Callable
from typing import cast

import numba
import numpy as np
import numpy.typing as npt
from scipy import sparse

TOLERANCE = 1e-5  # of the entropy when fitting the kernel width
MAX_TRIES = 50


def inverse_simpson(
    graph: sparse.csr_matrix,
    categories: npt.NDArray[np.int64],
    n_categories: int,
    *,
    n_neighbors: int,
) -> npt.NDArray[np.float64]:
    """Return each cell's effective number of categories among its graph neighbours.

    Parameters
    ----------
    graph
        (n_cells, n_cells) connectivities; cells without an edge are left out.
    categories
        (n_cells,) category of each cell, 0 … n_categories - 1.

    Returns
    -------
    One value for each cell that has an edge; 1 where fewer than `n_neighbors` are reachable.
    """
    graph = graph.sorted_indices()
    log_perplexity = np.log(np.floor(n_neighbors / 3))
    weights = np.array([float(f"{weight}") for weight in graph.data])  # scib: text, then double
    indices = graph.indices.astype(np.int64)
    values = []
    for start in np.flatnonzero(np.diff(graph.indptr)):
        found, distances = _compiled_nearest(graph.indptr, indices, weights, start, n_neighbors)
        if len(found) < n_neighbors:
            values.append(1.0)
            continue
        # scib passes distances through a text file with six significant digits
        rounded = np.array([float(f"{distance:.6g}") for distance in distances])
        probabilities = neighbor_probabilities(rounded, log_perplexity)
        if probabilities is None:
            values.append(-1.0)
            continue
        shares = np.bincount(categories[found], weights=probabilities, minlength=n_categories)
        values.append(1 / float(shares @ shares))
    return np.array(values)


def nearest_by_path(
    indptr: npt.NDArray[np.int32],
    indices: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    start: int,
    n_nearest: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the `n_nearest` other nodes by shortest path from `start`, nearest first."""
    found = np.empty(n_nearest, dtype=np.int64)
    distances = np.empty(n_nearest, dtype=np.float64)
    count = 0
    best = {start: 0.0}
    done = {start: False}
    queue = [(0.0, start)]
    while len(queue) > 0 and count < n_nearest:
        distance, node = heapq.heappop(queue)
        if done[node]:
            continue
        done[node] = True
        if node != start:
            found[count] = node
            distances[count] = distance
            count += 1
        for edge in range(indptr[node], indptr[node + 1]):
            target = int(indices[edge])
            length = distance + weights[edge]
            if target not in best or length < best[target]:
                best[target] = length
                done[target] = False
                heapq.heappush(queue, (length, target))
    return found[:count], distances[:count]


_compiled_nearest = cast(
    Callable[..., tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]],
    numba.njit(nearest_by_path),
)


def neighbor_probabilities(
    distances: npt.NDArray[np.float64], log_perplexity: float
) -> npt.NDArray[np.float64] | None:
    """Return weights exp(-beta · distance), beta fitted so that their entropy is as given.

    None where all weights vanish.
    """
    beta, low, high = 1.0, -np.inf, np.inf
    entropy, weights = _entropy(distances, beta)
    tries = 0
    while abs(entropy - log_perplexity) > TOLERANCE and tries < MAX_TRIES:
        if entropy > log_perplexity:
            low = beta
            beta = beta * 2 if high == np.inf else (beta + high) / 2
        else:
            high = beta
            beta = beta / 2 if low == -np.inf else (beta + low) / 2
        entropy, weights = _entropy(distances, beta)
        tries += 1
    return None if entropy == 0 else weights


def _entropy(
    distances: npt.NDArray[np.float64], beta: float
) -> tuple[float, npt.NDArray[np.float64]]:
    weights = np.exp(-distances * beta)
    total = weights.sum()
    if total == 0:
        return 0.0, weights
    return float(np.log(total) + beta * (distances * weights).sum() / total), weights / total
