"""Local inverse Simpson index on a neighbour graph, as scib 1.1.7 computes it.

scib calls a compiled helper for the shortest paths, which does not start on every system; the
kernel here is compiled on first use instead. Its edge "lengths" are UMAP connectivities, as there.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numba
import numpy as np
import numpy.typing as npt
from scipy import sparse

TOLERANCE = 1e-5  # of the entropy when fitting the kernel width
MAX_TRIES = 50


@dataclass(frozen=True)
class Neighbourhoods:
    """The nearest cells of each cell that has an edge, and how much each of them counts.

    `cells` and `weights` are (n_cells, n_neighbors); weights of a row sum to 1. `fixed` is the
    index of a cell that has no weights, as scib sets it, and NaN for all others.
    """

    cells: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]
    fixed: npt.NDArray[np.float64]


def neighbourhoods(graph: sparse.csr_matrix, n_neighbors: int) -> Neighbourhoods:
    """Return the neighbourhoods on a graph of (n_cells, n_cells) connectivities.

    The index is 1 where fewer than `n_neighbors` are reachable and -1 where all weights vanish.
    """
    graph = graph.sorted_indices()
    log_perplexity = np.log(np.floor(n_neighbors / 3))
    lengths = np.array([float(f"{weight}") for weight in graph.data])  # scib: text, then double
    indices = graph.indices.astype(np.int64)
    starts = np.flatnonzero(np.diff(graph.indptr))
    cells = np.zeros((len(starts), n_neighbors), dtype=np.int64)
    weights = np.zeros((len(starts), n_neighbors))
    fixed = np.full(len(starts), np.nan)
    for row, start in enumerate(starts):
        found, distances = _compiled_nearest(graph.indptr, indices, lengths, start, n_neighbors)
        if len(found) < n_neighbors:
            fixed[row] = 1.0
            continue
        # scib passes distances through a text file with six significant digits
        rounded = np.array([float(f"{distance:.6g}") for distance in distances])
        probabilities = neighbor_probabilities(rounded, log_perplexity)
        if probabilities is None:
            fixed[row] = -1.0
            continue
        cells[row], weights[row] = found, probabilities
    return Neighbourhoods(cells, weights, fixed)


def inverse_simpson(
    near: Neighbourhoods, categories: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return each cell's effective number of categories in its neighbourhood.

    `categories` is (n_cells,), the category of each cell of the graph.
    """
    squares = np.zeros(len(near.fixed))
    for code in np.unique(categories):
        squares += np.where(categories[near.cells] == code, near.weights, 0).sum(axis=1) ** 2
    known = np.isnan(near.fixed)
    return np.where(known, 1 / np.where(known, squares, 1), near.fixed)


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
