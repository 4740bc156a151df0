"""Metrics beside the paper's six: its own text where scib differs, and younger ones.

`basw_text` and `gc_text` follow the formulas of the paper's B.3.1, which are not what scib, and so
its Table 1, computes. NMI at resolution 1 is not chosen by the labels; ARI is of the clusters
that are, as scib has it. iLISI is scib's, scaled. BRAS is the batch silhouette of Rautenstrauch and
Ohler (2025).
"""

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.metrics import (
    adjusted_rand_score,
    normalized_mutual_info_score,
    silhouette_score,
)
from sklearn.preprocessing import normalize

from epifoundation.evaluation.embedded import (
    Clusterings,
    Codes,
    Floats,
    Labelled,
    few_for_lisi,
    lisi_note,
    mean_within_types,
)
from epifoundation.evaluation.lisi import Neighbourhoods, inverse_simpson
from epifoundation.evaluation.score import Score

VARIANT_METRICS = ("nmi_resolution_1", "ari", "basw_text", "gc_text", "bras", "ilisi")


def clustering_nmi(cells: Labelled, clusters: Clusterings) -> Score:
    """Return the NMI of types with Leiden clusters at resolution 1, which no label chose."""
    if cells.n_types == 1:
        return Score.undefined("one cell type only")
    return Score(float(normalized_mutual_info_score(clusters[1.0], cells.types)))


def best_resolution(cells: Labelled, clusters: Clusterings) -> tuple[float, float]:
    """Return the resolution at which the types' NMI with the clusters is best, and that NMI."""
    scores = {
        resolution: float(normalized_mutual_info_score(members, cells.types))
        for resolution, members in clusters.items()
    }
    best = max(scores, key=lambda resolution: scores[resolution])
    return best, scores[best]


def best_clustering_ari(cells: Labelled, clusters: Clusterings) -> Score:
    """Return the adjusted Rand index of types with the clusters of the best NMI, as scib has it."""
    if cells.n_types == 1:
        return Score.undefined("one cell type only")
    best, _ = best_resolution(cells, clusters)
    return Score(
        float(adjusted_rand_score(cells.types, clusters[best])),
        f"resolution {best} chosen by the labels",
    )


def overall_batch_silhouette(cells: Labelled) -> Score:
    """Return 1 - |mean silhouette of the batches over all cells| (paper B.3.1)."""
    if cells.n_batches == 1:
        return Score.undefined("one batch only")
    if cells.n_batches == len(cells.batches):
        return Score.undefined("every cell has its own batch")
    return Score(1 - abs(float(silhouette_score(cells.embedding, cells.batches))))


def neighbour_purity(cells: Labelled, distances: sparse.csr_matrix) -> Score:
    """Return the mean share of a cell's nearest cells that are of its type (paper B.3.1)."""
    edges = distances.tocoo()
    same = cells.types[edges.row] == cells.types[edges.col]
    n_near = np.bincount(edges.row, minlength=len(cells.types))
    n_same = np.bincount(edges.row[same], minlength=len(cells.types))
    return Score(float((n_same / np.maximum(n_near, 1)).mean()))


def adapted_batch_silhouette(cells: Labelled) -> Score:
    """Return BRAS: as bASW, but against the mean of all other batches, by cosine distance.

    The usual silhouette compares with the nearest other batch, so that one batch well mixed in
    hides all those that are not.
    """
    return mean_within_types(cells, silhouettes_against_all)


def silhouettes_against_all(embedding: npt.NDArray[np.floating], batches: Codes) -> Floats:
    """Return (b - a) / max(a, b) of each cell, in -1 … 1, by cosine distance.

    a is the mean distance to the others of its batch, b the mean over the other batches of the mean
    distance to their cells. A cell alone in its batch is 0, as in scikit-learn.
    """
    unit = normalize(np.asarray(embedding, dtype=np.float64))
    _, codes = np.unique(batches, return_inverse=True)
    sizes = np.bincount(codes)
    sums = np.stack([unit[codes == code].sum(axis=0) for code in range(len(sizes))])
    totals = sizes - unit @ sums.T  # of cosine distances to each batch, the cell itself is at 0
    own = np.arange(len(codes)), codes
    within = totals[own] / np.maximum(sizes[codes] - 1, 1)
    to_others = totals / sizes
    to_others[own] = 0
    between = to_others.sum(axis=1) / (len(sizes) - 1)
    larger = np.maximum(within, between)
    value = np.divide(between - within, larger, out=np.zeros(len(codes)), where=larger > 0)
    return np.where(sizes[codes] == 1, 0, value)


def batch_lisi(cells: Labelled, near: Neighbourhoods | None) -> Score:
    """Return iLISI: (median inverse Simpson index - 1) / (B - 1), B batches."""
    if cells.n_batches == 1:
        return Score.undefined("one batch only")
    if near is None:
        return Score.undefined(few_for_lisi(cells))
    lisi = inverse_simpson(near, cells.batches)
    return Score(float((np.nanmedian(lisi) - 1) / (cells.n_batches - 1)), lisi_note(cells))
