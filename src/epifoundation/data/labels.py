"""Cell types of clusters, from expression profiles of known types of the same tissue (DISCO)."""

import logging
from pathlib import Path

import mudata as md
import numpy as np
import pandas as pd
from anndata.utils import make_index_unique
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import rankdata

from epifoundation.config import LabelConfig
from epifoundation.data.expression import log_normalize
from epifoundation.errors import ContractError, DataError
from epifoundation.multiome import counts_of

logger = logging.getLogger(__name__)

UNASSIGNED = "unassigned"
ATLAS_MARK = "--"  # a DISCO profile is named `<cell type>--<atlas>`


def read_profiles(path: Path | str) -> pd.DataFrame:
    """Return log-normalised profiles, gene symbols × `type` or `type--atlas`.

    The file is TSV or CSV, told by its header; the first column holds the symbols. Repeated
    symbols get a suffix, as Seurat gives them to genes.
    """
    try:
        header = pd.read_csv(path, sep="\t", nrows=0).columns
        separator = "\t" if len(header) > 1 else ","
        profiles = pd.read_csv(path, sep=separator, index_col=0, keep_default_na=False)
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read as profiles ({error}). Expected TSV or CSV, genes first."
        raise ContractError(message) from error
    wrong = [name for name, dtype in profiles.dtypes.items() if dtype.kind not in "if"]
    if profiles.empty or wrong:
        what = (
            f"{len(wrong)} columns are not numbers (first: {wrong[0]})" if wrong else "it is empty"
        )
        message = f"{path} holds no profiles: {what}. Expected one numeric column per cell type."
        raise ContractError(message)
    profiles.index = make_index_unique(profiles.index.astype(str), join=".")
    return profiles


def label_clusters(
    mdata: md.MuData, profiles: pd.DataFrame, atlas: str | None, config: LabelConfig
) -> pd.DataFrame:
    """Return a LABELS table: each cell with its cluster's best matching type.

    `mdata` needs `obs["cluster"]`. A cluster's mean expression is compared with each profile of
    `atlas` by Spearman correlation over the `n_genes` genes most variable among these profiles. A
    cluster whose best two types lie closer than `min_margin` is `unassigned`. Without `atlas` the
    profiles must be of one.
    """
    reference = profiles_of(profiles, atlas)
    names = pd.Index(mdata["rna"].var_names)
    genes = variable_symbols(reference, names, config)
    clusters = mdata.obs["cluster"].astype(str)
    order = sorted(clusters.unique(), key=lambda name: (len(name), name))
    counts = counts_of(mdata["rna"])
    means = cluster_means(counts, clusters.to_numpy(), order)[:, names.get_indexer(genes)]
    scores = spearman(means, reference.loc[genes].to_numpy().T)
    best = pd.DataFrame(
        [_best_two(row, list(reference.columns), config.min_margin) for row in scores],
        columns=["cell_type", "score", "margin", "runner_up"],
        index=pd.Index(order, name="cluster"),
    )
    for cluster, row in best.iterrows():
        logger.info(
            "cluster %s: %s (%.3f), then %s (margin %.3f)",
            cluster,
            row.cell_type,
            row.score,
            row.runner_up,
            row.margin,
        )
    table: pd.DataFrame = best.loc[clusters].reset_index()
    table.insert(0, "barcode", mdata.obs_names.astype(str))
    return table


def profiles_of(profiles: pd.DataFrame, atlas: str | None) -> pd.DataFrame:
    """Return the profiles of an atlas, columns named by type alone and sorted."""
    parts = [str(name).rpartition(ATLAS_MARK) for name in profiles]
    atlases = sorted({part[2] for part in parts if part[1]})
    if atlas is None and len(atlases) == 1:
        atlas = atlases[0]
    chosen = [i for i, part in enumerate(parts) if not atlases or (part[1] and part[2] == atlas)]
    if not chosen:
        wanted = f"of the atlas {atlas!r}" if atlas else "chosen: no atlas is named"
        message = f"no profile is {wanted}. The file has the atlases: {', '.join(atlases)}."
        raise DataError(message)
    types = [parts[i][0] if atlases else parts[i][2] for i in chosen]
    reference = profiles.iloc[:, chosen].set_axis(types, axis=1)
    return reference.sort_index(axis=1)


def variable_symbols(reference: pd.DataFrame, names: pd.Index, config: LabelConfig) -> list[str]:
    """Return the shared gene symbols most variable among the profiles; ties go by name."""
    shared = reference.index.intersection(names).sort_values()
    if len(shared) < config.min_shared_genes:
        message = (
            f"only {len(shared)} of {len(names)} genes of the sample are among the"
            f" {len(reference)} of the profiles (here e.g. {', '.join(names[:3])}; there e.g."
            f" {', '.join(reference.index[:3])}). Both must be gene symbols of one species; a"
            " small gene panel needs a lower labels.min_shared_genes."
        )
        raise DataError(message)
    variance = reference.loc[shared].var(axis=1, ddof=0).to_numpy()
    chosen = np.argsort(-variance, kind="stable")[: config.n_genes]
    logger.info("%d genes shared with the profiles, %d used", len(shared), len(chosen))
    return list(shared[chosen])


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


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank correlation of every row of `one` with every row of `other`.

    A row that is constant correlates with nothing: minus infinity.
    """
    scaled = []
    for rows in (one, other):
        ranks = rankdata(rows, axis=1)
        ranks -= ranks.mean(axis=1, keepdims=True)
        length = np.linalg.norm(ranks, axis=1, keepdims=True)
        scaled.append(np.divide(ranks, length, out=np.full_like(ranks, np.nan), where=length > 0))
    correlation = scaled[0] @ scaled[1].T
    return np.asarray(np.where(np.isnan(correlation), -np.inf, correlation))


def _best_two(
    scores: NDArray[np.float64], types: list[str], min_margin: float
) -> tuple[str, float, float, str]:
    order = np.argsort(-scores, kind="stable")
    score = float(scores[order[0]])
    if len(order) == 1 or not np.isfinite(scores[order[1]]):
        margin, runner_up = float("nan"), ""
    else:
        margin, runner_up = score - float(scores[order[1]]), types[order[1]]
    unsure = not np.isfinite(score) or margin < min_margin
    return (UNASSIGNED if unsure else types[order[0]]), score, margin, runner_up
