"""Cell types of clusters, from expression profiles of known types of the same tissue (DISCO)."""

import logging
from collections.abc import Sequence
from pathlib import Path

import mudata as md
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from epifoundation.config import LabelConfig
from epifoundation.contracts import CLUSTERS
from epifoundation.data.cell_ontology import merged_names, ontology_ids
from epifoundation.data.cellid import one_round, two_rounds
from epifoundation.data.expression import log_normalize
from epifoundation.data.profiles import kind_of_names, profiles_of, resolved_atlas
from epifoundation.errors import DataError
from epifoundation.multiome import counts_of, read_multiome

logger = logging.getLogger(__name__)

UNASSIGNED = "unassigned"
METHODS = {"spearman": one_round, "cellid": two_rounds}
FEW_SHARED_GENES = 5_000  # CELLiD warns at as many or fewer


def label_clusters(
    mdata: md.MuData,
    profiles: pd.DataFrame,
    atlas: str | None,
    config: LabelConfig,
    *,
    clusters: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return a LABELS table: each cell of `mdata` with its cluster's best matching type.

    Clusters are `mdata.obs["cluster"]`, or those of `clusters`, a CLUSTERS table of at least these
    cells. A cluster's mean expression is compared with each profile of `atlas` by Spearman
    correlation over the `n_genes` genes most variable among these profiles, or by CELLiD. A
    cluster whose best two types lie closer than `min_margin`, or that follows no profile at all,
    is `unassigned`. Without `atlas` the profiles must be of one.
    """
    reference = profiles_of(profiles, atlas)
    of_cells = _clusters_of(mdata, clusters)
    order = sorted(of_cells.unique(), key=lambda name: (len(name), name))
    names = pd.Index(mdata["rna"].var_names)
    genes = shared_symbols(reference, names, config)
    counts = counts_of(mdata["rna"])
    means = cluster_means(counts, of_cells.to_numpy(), order)[:, names.get_indexer(genes)]
    scores = METHODS[config.method](means, reference.loc[genes].to_numpy().T, config.n_genes)
    if reference.shape[1] == 1:
        logger.warning(
            "the only profile is %s: every cluster gets this type, whatever it is, and min_margin"
            " does not apply. Give profiles of all types the tissue may hold.",
            reference.columns[0],
        )
    best = pd.DataFrame(
        [_best_two(row, list(reference.columns), config.min_margin) for row in scores],
        columns=["cell_type", "score", "margin", "runner_up"],
        index=pd.Index(order, name="cluster"),
    )
    named_in = resolved_atlas(profiles, atlas)
    best = _with_ontology(best, named_in, merge=config.merge_synonyms)
    _log(best, of_cells.value_counts())
    table: pd.DataFrame = best.loc[of_cells].reset_index()
    table.insert(0, "barcode", mdata.obs_names.astype(str))
    return table


def label_samples(
    cells: Sequence[Path | str],
    rna_clusters: Sequence[Path | str],
    profiles: pd.DataFrame,
    atlases: Sequence[str | None],
    config: LabelConfig,
) -> pd.DataFrame:
    """Return a LABELS table of the cells of h5mu files, sample after sample.

    Each has an atlas and, where clusters of the RNA alone are labelled, a CLUSTERS file in
    `rna_clusters`; without any, the clusters are those that came with the cells.
    """
    tables = []
    own = () if rna_clusters else ("cluster",)
    for i, path in enumerate(cells):
        clusters = CLUSTERS.read(rna_clusters[i]) if rna_clusters else None
        logger.info("%s: clusters %s", path, "of the RNA alone" if rna_clusters else "of its own")
        mdata = read_multiome(path, needs_obs=own)
        tables.append(label_clusters(mdata, profiles, atlases[i], config, clusters=clusters))
    return pd.concat(tables, ignore_index=True)


def shared_symbols(reference: pd.DataFrame, names: pd.Index, config: LabelConfig) -> list[str]:
    """Return the gene symbols that sample and profiles share, sorted."""
    shared = reference.index.intersection(names).sort_values()
    if len(shared) < config.min_shared_genes:
        here, there = kind_of_names(list(names)), kind_of_names(list(reference.index))
        message = (
            f"only {len(shared)} of {len(names)} genes of the sample are among the"
            f" {len(reference)} of the profiles, fewer than {config.min_shared_genes}: here"
            f" {here}, e.g. {', '.join(names[:3])}; there {there}, e.g."
            f" {', '.join(reference.index[:3])}. Both must be gene symbols of one species; a small"
            " gene panel needs a lower labels.min_shared_genes."
        )
        raise DataError(message)
    if len(shared) <= FEW_SHARED_GENES:
        logger.warning(
            "only %d of the %d genes of the sample are among the %d of the profiles; with %d or"
            " fewer CELLiD warns that types may be wrong",
            *(len(shared), len(names), len(reference), FEW_SHARED_GENES),
        )
    used = min(len(shared), config.n_genes)
    logger.info("%d genes shared with the profiles, the %d most variable used", len(shared), used)
    return list(shared)


def cluster_means(
    counts: sparse.csr_matrix, clusters: NDArray[np.str_], order: list[str]
) -> NDArray[np.float64]:
    """Return the log of the mean normalised expression, clusters × genes, in the given order.

    The mean is of counts per 10,000, not of their logarithms (Seurat AverageExpression).
    """
    normal = log_normalize(counts)
    normal.data = np.expm1(normal.data)
    rows = pd.Index(order).get_indexer(pd.Index(clusters))
    member = sparse.csr_matrix((np.ones(len(rows)), (rows, np.arange(len(rows)))))
    sizes = np.bincount(rows)[:, None]
    return np.log1p(np.asarray((member @ normal).todense()) / sizes)


def _clusters_of(mdata: md.MuData, clusters: pd.DataFrame | None) -> pd.Series:
    if clusters is None and "cluster" not in mdata.obs:
        message = "these cells have no clusters. Give what `cluster` wrote, or clusters on RNA."
        raise DataError(message)
    if clusters is None:
        return pd.Series(mdata.obs["cluster"].astype(str))
    by_cell = pd.Series(clusters.set_index("barcode")["cluster"].astype(str))
    names = mdata.obs_names.astype(str)
    if _name_samples(names) != _name_samples(by_cell.index):  # one side has plain barcodes
        names, by_cell.index = _barcodes(names), _barcodes(by_cell.index)
    missing = names.difference(by_cell.index, sort=False)
    if len(missing):
        example = "none" if clusters.empty else clusters["barcode"].iloc[0]
        message = (
            f"{len(missing):,} of {mdata.n_obs:,} cells are in none of the {by_cell.nunique()}"
            f" clusters given (first: {missing[0]}; the clusters have {example}). Make them of the"
            " same cells: same barcodes, same sample name, same limits of qc."
        )
        raise DataError(message)
    return pd.Series(by_cell.loc[names].to_numpy(), index=mdata.obs_names)


def _name_samples(names: pd.Index) -> bool:
    return bool(names.str.contains("#", regex=False).any())


def _barcodes(names: pd.Index) -> pd.Index:
    """Return the names without `<sample>#`, if they can be told apart by that."""
    barcodes = names.str.rpartition("#").get_level_values(2)
    return barcodes if barcodes.is_unique else names


def _best_two(
    scores: NDArray[np.float64], types: list[str], min_margin: float
) -> tuple[str, float, float, str]:
    """Return type, score, margin and runner-up; the first by name of types that tie."""
    order = np.argsort(-scores, kind="stable")
    score = float(scores[order[0]])
    if not np.isfinite(score):
        return UNASSIGNED, float("nan"), float("nan"), ""
    if len(order) == 1 or not np.isfinite(scores[order[1]]):
        return types[order[0]], score, float("nan"), ""
    margin, runner_up = score - float(scores[order[1]]), types[order[1]]
    return (UNASSIGNED if margin < min_margin else types[order[0]]), score, margin, runner_up


def _with_ontology(best: pd.DataFrame, atlas: str | None, *, merge: bool) -> pd.DataFrame:
    ids = ontology_ids(best["cell_type"].tolist(), atlas)
    named = best.assign(cell_ontology_id=ids)
    if merge:
        for column in ("cell_type", "runner_up"):
            named[column] = merged_names(best[column].tolist(), atlas)
    return named


def _log(best: pd.DataFrame, sizes: pd.Series) -> None:
    for row in best.assign(size=sizes).itertuples():
        logger.log(
            logging.WARNING if row.margin == 0 else logging.INFO,
            "cluster %s of %d cells: %s (%.3f), %s",
            *(row.Index, row.size, row.cell_type, row.score),
            f"then {row.runner_up!s} (margin {row.margin:.3f})" if row.runner_up else "no other",
        )
    unassigned = best["cell_type"] == UNASSIGNED
    if unassigned.any():
        n_cells = int(sizes[best.index[unassigned]].sum())
        logger.warning("%d clusters, %d cells, are unassigned", unassigned.sum(), n_cells)
