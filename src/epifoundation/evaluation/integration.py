"""The six integration metrics of the paper (B.3.1), as scib 1.1.7 computes them.

Where the paper's text and scib differ (bASW, GC) scib's definition is taken, since the paper says
its numbers come from it. A score that is not defined on the given cells is NaN with its reason.
"""

from dataclasses import dataclass

import igraph
import leidenalg
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import normalized_mutual_info_score, silhouette_samples

from epifoundation.errors import EvaluationError
from epifoundation.evaluation.lisi import inverse_simpson
from epifoundation.evaluation.score import Score

INTEGRATION_METRICS = ("iso", "nmi", "casw", "clisi", "basw", "gc")
N_NEIGHBORS = 15  # scanpy's default, which scib uses
RESOLUTIONS = tuple(2 * (step + 1) / 10 for step in range(10))  # scib: 0.2, 0.4 … 2.0
LISI_NEIGHBORS = 90  # scib's k0

Codes = npt.NDArray[np.int64]  # (n_cells,) category of each cell, 0 … n_categories - 1
Floats = npt.NDArray[np.float64]


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


def integration_metrics(
    embedding: npt.NDArray[np.floating], cell_types: pd.Series, batches: pd.Series
) -> dict[str, Score]:
    """Return the scores named in INTEGRATION_METRICS, each larger when better.

    Parameters
    ----------
    embedding
        (n_cells, n_dimensions), rows in the order of `cell_types` and `batches`.
    """
    if not len(embedding) == len(cell_types) == len(batches):
        message = (
            f"{len(embedding)} embedded cells, {len(cell_types)} cell types and"
            f" {len(batches)} batches: not the same cells"
        )
        raise EvaluationError(message)
    reason = _not_scorable(embedding, cell_types, batches)
    if reason:
        return dict.fromkeys(INTEGRATION_METRICS, Score.undefined(reason))
    types, type_names = pd.factorize(cell_types.astype(str), sort=True)
    batch_codes, _ = pd.factorize(batches.astype(str), sort=True)
    cells = Labelled(embedding, types, batch_codes, tuple(type_names))
    graph = neighbor_graph(embedding)
    silhouettes = _type_silhouettes(cells)
    return {
        "iso": isolated_label_score(cells, silhouettes),
        "nmi": best_clustering_nmi(cells, graph),
        "casw": type_silhouette(cells, silhouettes),
        "clisi": type_lisi(cells, graph),
        "basw": batch_silhouette(cells),
        "gc": graph_connectivity(cells, graph),
    }


def _not_scorable(
    embedding: npt.NDArray[np.floating], cell_types: pd.Series, batches: pd.Series
) -> str:
    if len(embedding) < 4:
        return f"{len(embedding)} test cells are too few"
    broken = ~np.isfinite(embedding).all(axis=1)
    if broken.any():
        return f"the embedding of {broken.sum()} of {len(embedding)} cells is not finite"
    for name, values in (("type", cell_types), ("batch", batches)):
        if values.isna().any():
            return f"{values.isna().sum()} of {len(values)} test cells have no {name}"
    return ""


def neighbor_graph(embedding: npt.NDArray[np.floating]) -> sparse.csr_matrix:
    """Return scanpy's graph of 15 neighbours: (n_cells, n_cells) UMAP connectivities."""
    import anndata as ad
    import scanpy as sc

    cells = ad.AnnData(obsm={"X_emb": embedding}, shape=(len(embedding), 0))
    n_neighbors = min(N_NEIGHBORS, len(embedding) - 1)
    sc.pp.neighbors(cells, n_neighbors=n_neighbors, use_rep="X_emb")
    return sparse.csr_matrix(cells.obsp["connectivities"])


def _type_silhouettes(cells: Labelled) -> Floats | None:
    """Return each cell's silhouette among the types; None where it is not defined."""
    if not 1 < cells.n_types < len(cells.types):
        return None
    return np.asarray(silhouette_samples(cells.embedding, cells.types), dtype=float)


def _why_no_silhouette(cells: Labelled) -> str:
    return "one cell type only" if cells.n_types == 1 else "every cell has its own type"


def isolated_label_score(cells: Labelled, silhouettes: Floats | None) -> Score:
    """Return ISO: mean scaled silhouette of the types that occur in the fewest batches."""
    if silhouettes is None:
        return Score.undefined(_why_no_silhouette(cells))
    pairs = np.unique(np.stack([cells.types, cells.batches]), axis=1)
    n_batches = np.bincount(pairs[0], minlength=cells.n_types)
    threshold = n_batches.min()
    if threshold == cells.n_batches:
        return Score.undefined(
            "one batch only"
            if cells.n_batches == 1
            else f"no isolated type: all are in each of {cells.n_batches} batches"
        )
    isolated = np.flatnonzero(n_batches <= threshold)
    means = [(silhouettes[cells.types == code].mean() + 1) / 2 for code in isolated]
    named = [f"{cells.type_names[code]} ({(cells.types == code).sum()})" for code in isolated]
    return Score(float(np.mean(means)), f"isolated types (cells): {', '.join(named)}")


def best_clustering_nmi(cells: Labelled, graph: sparse.csr_matrix) -> Score:
    """Return the best NMI of types with Leiden clusters over ten resolutions."""
    if cells.n_types == 1:
        return Score.undefined("one cell type only")
    edges = graph.tocoo()
    network = igraph.Graph(
        n=graph.shape[0], edges=np.stack([edges.row, edges.col], axis=1), directed=True
    )
    weights = edges.data.astype(np.float64)
    scores = {}
    for resolution in RESOLUTIONS:
        clusters = leidenalg.find_partition(
            network,
            leidenalg.RBConfigurationVertexPartition,
            weights=weights,
            n_iterations=-1,
            seed=0,
            resolution_parameter=resolution,
        ).membership
        scores[resolution] = float(normalized_mutual_info_score(clusters, cells.types))
    best = max(scores, key=lambda resolution: scores[resolution])
    return Score(scores[best], f"resolution {best} chosen by the labels")


def type_silhouette(cells: Labelled, silhouettes: Floats | None) -> Score:
    """Return cASW: mean silhouette of the types, scaled to 0 … 1."""
    if silhouettes is None:
        return Score.undefined(_why_no_silhouette(cells))
    return Score(float((silhouettes.mean() + 1) / 2))


def batch_silhouette(cells: Labelled) -> Score:
    """Return bASW: mean over types of the mean of 1 - |batch silhouette| within the type."""
    if cells.n_batches == 1:
        return Score.undefined("one batch only")
    means = []
    for code in range(cells.n_types):
        members = cells.types == code
        n_batches = len(np.unique(cells.batches[members]))
        if n_batches in (1, members.sum()):
            continue
        within = silhouette_samples(cells.embedding[members], cells.batches[members])
        means.append((1 - np.abs(within)).mean())
    if not means:
        return Score.undefined("no type has cells of two batches")
    skipped = cells.n_types - len(means)
    return Score(float(np.mean(means)), f"{skipped} types in one batch left out" if skipped else "")


def graph_connectivity(cells: Labelled, graph: sparse.csr_matrix) -> Score:
    """Return GC: mean over types of the share of cells in the type's largest component."""
    shares = []
    for code in range(cells.n_types):
        members = np.flatnonzero(cells.types == code)
        _, component = connected_components(graph[members][:, members], connection="strong")
        shares.append(np.bincount(component).max() / len(members))
    return Score(float(np.mean(shares)))


def type_lisi(cells: Labelled, graph: sparse.csr_matrix) -> Score:
    """Return cLISI: (L - median inverse Simpson index) / (L - 1), L types."""
    n_cells = len(cells.types)
    if cells.n_types == 1:
        return Score.undefined("one cell type only")
    if n_cells <= LISI_NEIGHBORS:
        return Score.undefined(f"{n_cells} cells: needs more than {LISI_NEIGHBORS} (k0)")
    lisi = inverse_simpson(graph, cells.types, cells.n_types, n_neighbors=LISI_NEIGHBORS)
    value = (cells.n_types - np.nanmedian(lisi)) / (cells.n_types - 1)
    few = n_cells < 10 * LISI_NEIGHBORS
    note = f"{LISI_NEIGHBORS} neighbours are much of {n_cells} cells" if few else ""
    return Score(float(value), note)
