"""From the token store of a data set to what baselines and metrics take."""

from collections.abc import Mapping

import anndata as ad
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from epifoundation.contracts import NO_TYPE
from epifoundation.data.splits import UNUSED
from epifoundation.data.store import TokenStore, expression_levels
from epifoundation.data.vocabulary import N_SPECIAL
from epifoundation.errors import EvaluationError
from epifoundation.evaluation.baselines.cells import (
    AnnotationCells,
    ExpressionCells,
    IntegrationCells,
)
from epifoundation.protocols import LABEL_FREE

LABELS_OF_TEST_CELLS = ("paper",)  # protocols in which scib's scANVI sees every label (B.2.1)


def accessible_peaks(store: TokenStore) -> sparse.csr_matrix:
    """Return the binary matrix of cells × peaks of the vocabulary, five bytes per open peak.

    Sums over it do not overflow; a product of it with itself would: methods make it float first.
    """
    data = np.ones(len(store.peak_tokens), dtype=np.uint8)
    columns = np.asarray(store.peak_tokens) - N_SPECIAL
    shape = (store.n_cells, store.n_peaks)
    return sparse.csr_matrix((data, columns, np.asarray(store.peak_indptr)), shape=shape)


def split_of(store: TokenStore, split: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Return train, validation or test for every cell of the store, in its order."""
    parts = split.set_index("cell")["split"].reindex(store.cells["cell"])
    if parts.isna().any():
        message = (
            f"{parts.isna().sum()} of {len(parts)} cells are in no split"
            f" (first: {parts.index[parts.isna()][0]}). Rerun split."
        )
        raise EvaluationError(message)
    return parts.to_numpy(dtype=object)


def labelled_test_cells(store: TokenStore, split: pd.DataFrame) -> pd.DataFrame:
    """Return the test cells that have a type, numbered from 0."""
    cells = store.cells[split_of(store, split) == "test"]
    labelled: pd.DataFrame = cells[~cells["cell_type"].isin(NO_TYPE)].reset_index(drop=True)
    return labelled


def integration_cells(
    store: TokenStore, split: pd.DataFrame, protocol: str, liger_python: str
) -> IntegrationCells:
    """Return all cells; types of test and unused cells are hidden unless the protocol shows them.

    In `label_free` all of them are.
    """
    cell_type = store.cells["cell_type"].where(~store.cells["cell_type"].isin(NO_TYPE))
    if protocol not in LABELS_OF_TEST_CELLS:
        cell_type = cell_type.where(np.isin(split_of(store, split), ("train", "validation")))
    if protocol == LABEL_FREE:
        cell_type = cell_type.where(np.zeros(len(cell_type), bool))
    return IntegrationCells(accessible_peaks(store), store.cells["batch"], cell_type, liger_python)


def annotation_cells(store: TokenStore, split: pd.DataFrame) -> AnnotationCells:
    """Return all cells; those without a type leave the fit, but are predicted.

    Unused cells have no type here: what is open in them may be learned from, as in test cells.
    """
    parts = split_of(store, split)
    cell_type = store.cells["cell_type"].to_numpy(dtype=object, copy=True)
    known = ~np.isin(cell_type.astype(str), NO_TYPE) | np.isin(parts, ("test", UNUSED))
    cell_type[parts == UNUSED] = None
    peaks = accessible_peaks(store)
    if not known.all():
        peaks = peaks[known]
    batch = store.cells["batch"].to_numpy(dtype=object)[known]
    return AnnotationCells(peaks, cell_type[known], parts[known], batch)


def expression_cells(
    store: TokenStore,
    split: pd.DataFrame,
    n_bins: int,
    activity: sparse.csr_matrix | None,
) -> ExpressionCells:
    """Return all cells with their levels, and gene activity where fragments exist."""
    levels = expression_levels(store, n_bins)
    # entries of the levels are those of the store, in their order
    counts = sparse.csr_matrix((store.gene_counts, levels.indices, levels.indptr), levels.shape)
    return ExpressionCells(
        accessible_peaks(store),
        levels,
        split_of(store, split),
        n_bins,
        activity,
        no_activity="" if activity is not None else "no fragments",
        counts=counts,
        batch=store.cells["batch"].to_numpy(dtype=object),
    )


def join_activity(
    parts: Mapping[str, ad.AnnData], store: TokenStore, gene_ids: pd.Series
) -> sparse.csr_matrix:
    """Return gene activity counts of the store's cells × the vocabulary's genes.

    Parameters
    ----------
    parts
        By sample, `data.gene_activity` of the sample's cells; obs = barcodes.
    gene_ids
        Of the vocabulary's genes, in order. A gene without activity (not protein coding) is 0.
    """
    rows = []
    for sample, part in parts.items():
        place = pd.Index(gene_ids).get_indexer(pd.Index(part.var["gene_id"]))
        known = np.flatnonzero(place >= 0)
        arrange = sparse.csr_matrix(
            (np.ones(len(known)), (known, place[known])), shape=(part.n_vars, len(gene_ids))
        )
        cells = [f"{sample}#{barcode}" for barcode in part.obs_names]
        rows.append((cells, sparse.csr_matrix(part.X @ arrange)))
    names = pd.Index([cell for block, _ in rows for cell in block])
    order = names.get_indexer(pd.Index(store.cells["cell"]))
    if (order < 0).any():
        message = f"{(order < 0).sum()} of {len(order)} cells have no gene activity"
        raise EvaluationError(message)
    return sparse.vstack([block for _, block in rows]).tocsr()[order]
