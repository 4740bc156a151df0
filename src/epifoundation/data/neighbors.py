"""Weighted nearest neighbours: which cells are alike in both modalities (Seurat's WNN).

Each cell learns how far to trust either modality: the one whose neighbours predict the cell's own
profile better than the other modality's neighbours do counts for more.
"""

import logging
from dataclasses import dataclass

import numpy as np
from annoy import AnnoyIndex
from numpy.typing import NDArray
from scipy import sparse

from epifoundation.errors import DataError

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

N_TREES = 50  # Seurat AnnoyNN
SMALLEST_SHARE = 1 / 15  # Seurat prune.SNN: edges of the shared neighbour graph below it go
CROSS_CONSTANT = 1e-4  # Seurat FindMultiModalNeighbors, cross.contant.list
MIN_CELLS = 4  # with fewer there are no neighbours to weigh
LARGEST_SCORE = 200.0  # Seurat clips the modality scores to 0..200


@dataclass(frozen=True)
class Modality:
    """One latent space: unit rows and, per cell, what its approximate neighbours say.

    `lists` are the k nearest cells, itself included; `candidates` the wider lists without itself;
    `nearest` the distance to the closest other cell; `bandwidth` the scale of its distances.
    """

    rows: Floats
    lists: Indices
    candidates: Indices
    nearest: Floats
    bandwidth: Floats

    def kernel(self, cell: int, others: Indices) -> Floats:
        """Similarity of `others` to `cell`, 1 for its nearest and closer ones."""
        apart = np.linalg.norm(self.rows[others] - self.rows[cell], axis=1)
        beyond = np.maximum(apart - self.nearest[cell], 0)
        return np.asarray(np.exp(-beyond / self.bandwidth[cell]))


@dataclass(frozen=True)
class WeightedNeighbors:
    """Neighbours over both modalities.

    `neighbors` and `distances` are cells × k, nearest first, the cell itself excluded; `weights`
    are cells × 2 in the order of the modalities given, each row adding up to one.
    """

    neighbors: Indices
    distances: Floats
    weights: Floats

    def shared_graph(self) -> sparse.csr_matrix:
        """Return the Jaccard index of the neighbour lists, 0 where below 1/15 (wsnn)."""
        return _pruned(shared_neighbors(self.neighbors))


def weighted_neighbors(
    embeddings: tuple[Floats, Floats],
    *,
    n_neighbors: int,
    neighbor_range: int,
    small_samples: bool = False,
) -> WeightedNeighbors:
    """Return each cell's `n_neighbors` nearest cells over both embeddings (cells × components).

    `neighbor_range` cells per modality are considered; there must be as many, unless
    `small_samples` lowers both numbers to the cells there are.
    """
    n_cells = len(embeddings[0])
    if n_cells < neighbor_range:
        if not small_samples or n_cells < MIN_CELLS:
            what = f"{neighbor_range} candidates per modality that WNN needs"
            raise DataError(_too_few(n_cells, what))
        asked = neighbor_range
        neighbor_range = n_cells - 1
        logger.warning(
            "%d cells: %d candidates per modality instead of %d (small_samples), which departs"
            " from Seurat; of these %d can be neighbours, %d were asked for",
            *(n_cells, neighbor_range, asked, neighbor_range - 1, n_neighbors),
        )
    n_neighbors = min(n_neighbors, neighbor_range - 1)
    one, two = (_modality(e, n_neighbors, neighbor_range) for e in embeddings)
    scores = np.column_stack([_score(one, two), _score(two, one)])
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights = odds / odds.sum(axis=1, keepdims=True)
    neighbors = np.empty((n_cells, n_neighbors), np.int64)
    similarity = np.empty((n_cells, n_neighbors))
    for i in range(n_cells):
        theirs = two.candidates[i]
        others = np.concatenate([one.candidates[i], theirs[~np.isin(theirs, one.candidates[i])]])
        alike = weights[i, 0] * one.kernel(i, others) + weights[i, 1] * two.kernel(i, others)
        best = np.argsort(-alike, kind="stable")[:n_neighbors]
        neighbors[i], similarity[i] = others[best], alike[best]
    return WeightedNeighbors(neighbors, np.sqrt(np.clip((1 - similarity) / 2, 0, 1)), weights)


def nearest_graph(
    embedding: Floats, *, n_neighbors: int, small_samples: bool = False
) -> sparse.csr_matrix:
    """Return the Jaccard index of the lists of nearest cells of one embedding, 0 below 1/15.

    Lists hold `n_neighbors` cells, the cell itself among them (Seurat FindNeighbors: snn of
    cells × components that are not scaled). There must be as many cells, unless `small_samples`
    shortens the lists to half of the cells.
    """
    n_cells = len(embedding)
    if n_cells < n_neighbors:
        if not small_samples or n_cells < MIN_CELLS:
            raise DataError(_too_few(n_cells, f"{n_neighbors} neighbours that a cell needs"))
        asked = n_neighbors
        n_neighbors = max(2, n_cells // 2)
        logger.warning(
            "%d cells: lists of %d nearest cells instead of %d (small_samples), which departs from"
            " Seurat",
            *(n_cells, n_neighbors, asked),
        )
    [(lists, _)] = nearest_lists(embedding, n_neighbors)
    return _pruned(shared_neighbors(lists))


def shared_neighbors(lists: Indices) -> sparse.csr_matrix:
    """Return the Jaccard index s / (2k - s) of every two cells' lists of k neighbours."""
    member = _membership(lists)
    shared = (member @ member.T).tocsr()
    shared.sort_indices()
    shared.data = shared.data / (2 * lists.shape[1] - shared.data)
    return shared


def nearest_lists(rows: Floats, *sizes: int) -> list[tuple[Indices, Floats]]:
    """Return, for each size, that many approximately nearest cells of each cell, and distances.

    A cell is among its own nearest. One thread builds the trees, whose random numbers Annoy seeds
    itself: always the same lists. Longer lists are searched for more thoroughly, so a short one is
    not the beginning of a long one.
    """
    index = AnnoyIndex(rows.shape[1], "euclidean")
    for i, row in enumerate(rows):
        index.add_item(i, row)
    index.build(N_TREES, n_jobs=1)
    found = []
    for k in sizes:
        lists = np.empty((len(rows), k), np.int64)
        distances = np.empty((len(rows), k))
        for i, row in enumerate(rows):
            lists[i], distances[i] = index.get_nns_by_vector(row, k, -1, include_distances=True)
        found.append((lists, distances))
    return found


def _modality(embedding: Floats, k: int, neighbor_range: int) -> Modality:
    length = np.linalg.norm(embedding, axis=1, keepdims=True)
    rows = embedding / np.where(length > 0, length, 1)
    (lists, distances), (wide, _) = nearest_lists(rows, k, neighbor_range)
    candidates = _without_self(wide)
    nearest = distances[:, 1]
    return Modality(rows, lists, candidates, nearest, _bandwidth(rows, lists, nearest))


def _score(own: Modality, other: Modality) -> Floats:
    """How much better a cell is predicted by its neighbours in `own` than by those in `other`."""
    within, across = (
        np.exp(-_prediction_error(own, _without_self(m.lists)) / own.bandwidth)
        for m in (own, other)
    )
    return np.clip(within / (across + CROSS_CONSTANT), 0, LARGEST_SCORE)


def _prediction_error(space: Modality, lists: Indices) -> Floats:
    predicted = space.rows[lists].mean(axis=1)
    error = np.linalg.norm(space.rows - predicted, axis=1)
    return np.asarray(np.maximum(error - space.nearest, 0))


def _bandwidth(rows: Floats, lists: Indices, nearest: Floats) -> Floats:
    """Mean distance to the k cells that share fewest neighbours, but some, with each cell."""
    shared, k = shared_neighbors(lists), lists.shape[1]
    widths = np.empty(len(rows))
    for i in range(len(rows)):
        entries = slice(shared.indptr[i], shared.indptr[i + 1])
        share, cells = shared.data[entries], shared.indices[entries]
        last = np.sort(share)[min(k, len(share)) - 1]
        far = cells[share <= last]
        apart = np.maximum(np.linalg.norm(rows[far] - rows[i], axis=1) - nearest[i], 0)
        widths[i] = np.sort(apart)[-k:].mean()
    return np.maximum(widths, np.finfo(float).tiny)  # 0 where all of them are duplicates


def _without_self(lists: Indices) -> Indices:
    """Drop each cell from its own list, or the last one where duplicates crowd it out."""
    others = lists != np.arange(len(lists))[:, None]
    others[others.all(axis=1), -1] = False
    kept: Indices = lists[others].reshape(len(lists), -1)
    return kept


def _pruned(shared: sparse.csr_matrix) -> sparse.csr_matrix:
    shared.data[shared.data < SMALLEST_SHARE] = 0
    shared.eliminate_zeros()
    return shared


def _too_few(n_cells: int, needed: str) -> str:
    if n_cells < MIN_CELLS:
        return f"{n_cells} cells are too few to cluster. Leave the sample out, or relax qc."
    return (
        f"{n_cells} cells are fewer than the {needed}. Set cluster.small_samples: true to use as"
        " many as there are, or leave the sample out."
    )


def _membership(lists: Indices) -> sparse.csr_matrix:
    n_cells, k = lists.shape
    indptr = np.arange(0, n_cells * k + 1, k)
    return sparse.csr_matrix((np.ones(n_cells * k), lists.ravel(), indptr), (n_cells, n_cells))
