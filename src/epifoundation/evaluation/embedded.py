"""Embedded cells of known type and batch: their neighbour graph, neighbourhoods and clusters."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import igraph
import leidenalg
import numpy as np
import numpy.typing as npt
from scipy import sparse

from epifoundation.evaluation.lisi import Neighbourhoods, neighbourhoods
from epifoundation.evaluation.score import Score

N_NEIGHBORS = 15  # scanpy's default, which scib uses
LISI_NEIGHBORS = 90  # scib's k0
FEWEST_TO_SHARE = 5_000  # cells, for which Leiden takes as long as starting processes

Codes = npt.NDArray[np.int64]  # (n_cells,) category of each cell, 0 … n_categories - 1
Floats = npt.NDArray[np.float64]
Clusterings = dict[float, list[int]]  # by resolution, the cluster of each cell


@dataclass(frozen=True)
class Labelled:
    """Cells with an embedding, a type and a batch each, none of them missing."""

    embedding: npt.NDArray[np.floating]  # (n_cells, n_dimensions)
    types: Codes
    batches: Codes
    type_names: tuple[str, ...]

    @property
    def n_types(self) -> int:
        """Return how many types occur."""
        return len(self.type_names)

    @property
    def n_batches(self) -> int:
        """Return how many batches occur."""
        return int(self.batches.max()) + 1


@dataclass(frozen=True)
class NeighborGraph:
    """Of each cell its nearest cells: UMAP connectivities and distances, (n_cells, n_cells)."""

    connectivities: sparse.csr_matrix
    distances: sparse.csr_matrix


def neighbor_graph(embedding: npt.NDArray[np.floating]) -> NeighborGraph:
    """Return scanpy's graph of 15 neighbours, the cell itself among them."""
    import anndata as ad
    import scanpy as sc

    cells = ad.AnnData(obsm={"X_emb": embedding}, shape=(len(embedding), 0))
    n_neighbors = min(N_NEIGHBORS, len(embedding) - 1)
    sc.pp.neighbors(cells, n_neighbors=n_neighbors, use_rep="X_emb")
    return NeighborGraph(
        sparse.csr_matrix(cells.obsp["connectivities"]), sparse.csr_matrix(cells.obsp["distances"])
    )


def leiden(graph: sparse.csr_matrix, resolutions: tuple[float, ...]) -> Clusterings:
    """Return each cell's Leiden cluster at each resolution, as scanpy calls it."""
    edges = graph.tocoo()
    network = igraph.Graph(
        n=graph.shape[0], edges=np.stack([edges.row, edges.col], axis=1), directed=True
    )
    weights = edges.data.astype(np.float64)
    return {
        resolution: leidenalg.find_partition(
            network,
            leidenalg.RBConfigurationVertexPartition,
            weights=weights,
            n_iterations=-1,
            seed=0,
            resolution_parameter=resolution,
        ).membership
        for resolution in resolutions
    }


def begin_leiden(
    graph: sparse.csr_matrix, resolutions: tuple[float, ...], threads: int
) -> Callable[[], Clusterings]:
    """Begin `leiden` in processes beside this one, and return what waits for it.

    leidenalg uses one core and lets no other thread run meanwhile. A resolution does not depend on
    the others; the last take longest, so they are begun first. On one thread, or on cells so few
    that starting a process takes longer, all is done here when it is waited for.
    """
    if threads == 1 or graph.shape[0] < FEWEST_TO_SHARE:
        return lambda: leiden(graph, resolutions)
    pool = ProcessPoolExecutor(threads, multiprocessing.get_context("spawn"))
    begun = {one: pool.submit(leiden, graph, (one,)) for one in reversed(resolutions)}

    def wait() -> Clusterings:
        with pool:  # its processes end with it
            return {one: begun[one].result()[one] for one in resolutions}

    return wait


def lisi_neighbourhoods(cells: Labelled, graph: sparse.csr_matrix) -> Neighbourhoods | None:
    """Return the 90 nearest cells of each on the graph; None where there are fewer."""
    if len(cells.types) <= LISI_NEIGHBORS:
        return None
    return neighbourhoods(graph, LISI_NEIGHBORS)


def few_for_lisi(cells: Labelled) -> str:
    """Say that there are fewer cells than a neighbourhood has."""
    return f"{len(cells.types)} cells: needs more than {LISI_NEIGHBORS} (k0)"


def lisi_note(cells: Labelled) -> str:
    """Say where neighbourhoods are much of all cells."""
    few = len(cells.types) < 10 * LISI_NEIGHBORS
    return f"{LISI_NEIGHBORS} neighbours are much of {len(cells.types)} cells" if few else ""


def mean_within_types(
    cells: Labelled, silhouettes: Callable[[npt.NDArray[np.floating], Codes], Floats]
) -> Score:
    """Return the mean over types of the mean of 1 - |silhouette of the batches within the type|.

    Types in one batch, and those with a batch per cell, are left out, as scib does.
    """
    if cells.n_batches == 1:
        return Score.undefined("one batch only")
    means = []
    for code in range(cells.n_types):
        members = cells.types == code
        n_batches = len(np.unique(cells.batches[members]))
        if n_batches in (1, members.sum()):
            continue
        within = silhouettes(cells.embedding[members], cells.batches[members])
        means.append((1 - np.abs(within)).mean())
    if not means:
        return Score.undefined("no type has cells of two batches")
    skipped = cells.n_types - len(means)
    return Score(float(np.mean(means)), f"{skipped} types in one batch left out" if skipped else "")
