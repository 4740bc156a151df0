"""The six integration metrics of the paper (B.3.1), as scib 1.1.7 computes them.

Where the paper's text and scib differ (bASW, GC) scib's definition is taken, since the paper says
its numbers come from it. A score that is not defined on the given cells is NaN with its reason.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import silhouette_samples

from epifoundation.errors import EvaluationError
from epifoundation.evaluation.embedded import (
    Clusterings,
    Floats,
    Labelled,
    begin_leiden,
    few_for_lisi,
    lisi_neighbourhoods,
    lisi_note,
    mean_within_types,
    neighbor_graph,
)
from epifoundation.evaluation.integration_variants import (
    VARIANT_METRICS,
    adapted_batch_silhouette,
    batch_lisi,
    best_clustering_ari,
    best_resolution,
    clustering_nmi,
    neighbour_purity,
    overall_batch_silhouette,
)
from epifoundation.evaluation.lisi import Neighbourhoods, inverse_simpson
from epifoundation.evaluation.score import Score

INTEGRATION_METRICS = ("iso", "nmi", "casw", "clisi", "basw", "gc")
RESOLUTIONS = tuple(2 * (step + 1) / 10 for step in range(10))  # scib: 0.2, 0.4 … 2.0


def integration_metrics(
    embedding: npt.NDArray[np.floating],
    cell_types: pd.Series,
    batches: pd.Series,
    *,
    variants: bool = False,
    threads: int = 1,
) -> dict[str, Score]:
    """Return the scores named in INTEGRATION_METRICS, each larger when better.

    With `variants` those of VARIANT_METRICS too (integration_variants.py). `threads` share the
    clustering, which takes longest; they change no digit.

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
        names = (*INTEGRATION_METRICS, *(VARIANT_METRICS if variants else ()))
        return dict.fromkeys(names, Score.undefined(reason))
    types, type_names = pd.factorize(cell_types.astype(str), sort=True)
    batch_codes, _ = pd.factorize(batches.astype(str), sort=True)
    cells = Labelled(embedding, types, batch_codes, tuple(type_names))
    graph = neighbor_graph(embedding)
    resolutions = RESOLUTIONS if cells.n_types > 1 else ()
    clustered = begin_leiden(graph.connectivities, resolutions, threads)
    silhouettes = type_silhouettes(cells)
    near = lisi_neighbourhoods(cells, graph.connectivities)
    scores = {
        "iso": isolated_label_score(cells, silhouettes),
        "casw": type_silhouette(cells, silhouettes),
        "clisi": type_lisi(cells, near),
        "basw": batch_silhouette(cells),
        "gc": graph_connectivity(cells, graph.connectivities),
    }
    clusters = clustered()
    scores["nmi"] = best_clustering_nmi(cells, clusters)
    scores = {name: scores[name] for name in INTEGRATION_METRICS}
    if variants:
        scores |= {
            "nmi_resolution_1": clustering_nmi(cells, clusters),
            "ari": best_clustering_ari(cells, clusters),
            "basw_text": overall_batch_silhouette(cells),
            "gc_text": neighbour_purity(cells, graph.distances),
            "bras": adapted_batch_silhouette(cells),
            "ilisi": batch_lisi(cells, near),
        }
    return scores


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


def type_silhouettes(cells: Labelled) -> Floats | None:
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


def best_clustering_nmi(cells: Labelled, clusters: Clusterings) -> Score:
    """Return the best NMI of types with Leiden clusters over the resolutions given."""
    if cells.n_types == 1:
        return Score.undefined("one cell type only")
    best, value = best_resolution(cells, clusters)
    return Score(value, f"resolution {best} chosen by the labels")


def type_silhouette(cells: Labelled, silhouettes: Floats | None) -> Score:
    """Return cASW: mean silhouette of the types, scaled to 0 … 1."""
    if silhouettes is None:
        return Score.undefined(_why_no_silhouette(cells))
    return Score(float((silhouettes.mean() + 1) / 2))


def batch_silhouette(cells: Labelled) -> Score:
    """Return bASW: mean over types of the mean of 1 - |batch silhouette| within the type."""
    return mean_within_types(cells, silhouette_samples)


def graph_connectivity(cells: Labelled, graph: sparse.csr_matrix) -> Score:
    """Return GC: mean over types of the share of cells in the type's largest component."""
    shares = []
    for code in range(cells.n_types):
        members = np.flatnonzero(cells.types == code)
        _, component = connected_components(graph[members][:, members], connection="strong")
        shares.append(np.bincount(component).max() / len(members))
    return Score(float(np.mean(shares)))


def type_lisi(cells: Labelled, near: Neighbourhoods | None) -> Score:
    """Return cLISI: (L - median inverse Simpson index) / (L - 1), L types."""
    if cells.n_types == 1:
        return Score.undefined("one cell type only")
    if near is None:
        return Score.undefined(few_for_lisi(cells))
    lisi = inverse_simpson(near, cells.types)
    value = (cells.n_types - np.nanmedian(lisi)) / (cells.n_types - 1)
    return Score(float(value), lisi_note(cells))
