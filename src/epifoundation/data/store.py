"""Cells as tokens in memory-mapped arrays, so that training reads only the cells it needs."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import mudata as md
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from epifoundation.contracts import SCHEMA_VERSION, Table
from epifoundation.data.expression import bin_expression
from epifoundation.data.vocabulary import N_SPECIAL, Vocabulary
from epifoundation.errors import ContractError, DataError
from epifoundation.files import whole
from epifoundation.multiome import PEAK_COLUMNS, counts_of

logger = logging.getLogger(__name__)

CELL_COLUMNS = ("sample", "batch", "tissue", "donor", "cell_type")
CELLS = Table(
    made_by="rule tokenize_cells",
    key=("cell",),
    dtypes=dict.fromkeys(("cell", *CELL_COLUMNS), "str"),
    nullable=("donor",),
)
ARRAYS: dict[str, type[np.generic]] = {
    "peak_indptr": np.int64,
    "peak_tokens": np.int32,
    "gene_indptr": np.int64,
    "gene_tokens": np.int32,
    "gene_counts": np.uint16,
    "peak_chromosomes": np.int32,
    "gene_chromosomes": np.int32,
}


@dataclass(frozen=True, eq=False)
class TokenStore:
    """Tokens of all cells, end to end; those of cell i lie between entries i and i + 1 of indptr.

    `peak_tokens` are the ids of a cell's accessible peaks, ascending; `gene_tokens` those of its
    expressed genes, with raw `gene_counts`. `peak_chromosomes` and `gene_chromosomes` give the
    chromosome id of every token id. All arrays are read-only memory maps. `cells` has a row per
    cell: cell (`<sample>#<barcode>`), sample, batch, tissue, donor, cell_type.
    """

    peak_indptr: NDArray[np.int64]
    peak_tokens: NDArray[np.int32]
    gene_indptr: NDArray[np.int64]
    gene_tokens: NDArray[np.int32]
    gene_counts: NDArray[np.uint16]
    peak_chromosomes: NDArray[np.int32]
    gene_chromosomes: NDArray[np.int32]
    cells: pd.DataFrame
    vocabulary_hash: str

    @classmethod
    def open(cls, directory: Path | str, *, vocabulary: Vocabulary | None = None) -> Self:
        """Map the store at `directory`; with `vocabulary`, refuse one made with another."""
        folder = Path(directory)
        try:
            meta = json.loads((folder / "meta.json").read_text())
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
        except (OSError, ValueError) as error:
            message = f"{folder} is no token store ({error}). Rerun tokenize_cells."
            raise ContractError(message) from error
        cells = CELLS.read(folder / "cells.parquet")
        store = cls(**arrays, cells=cells, vocabulary_hash=meta["vocabulary_hash"])
        _check_store(store, meta, folder)
        if vocabulary is not None and vocabulary.hash != store.vocabulary_hash:
            message = (
                f"{folder} was tokenised with vocabulary {store.vocabulary_hash}, not"
                f" {vocabulary.hash}: its ids mean other peaks and genes. Rerun tokenize_cells"
                " with this vocabulary."
            )
            raise ContractError(message)
        return store

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.cells)

    @property
    def n_peaks(self) -> int:
        """Number of peaks of the vocabulary."""
        return len(self.peak_chromosomes) - N_SPECIAL

    @property
    def n_genes(self) -> int:
        """Number of genes of the vocabulary."""
        return len(self.gene_chromosomes) - N_SPECIAL

    @property
    def n_cell_peaks(self) -> NDArray[np.int64]:
        """Number of peak tokens of each cell, shape (n_cells,)."""
        return np.diff(self.peak_indptr)

    @property
    def n_cell_genes(self) -> NDArray[np.int64]:
        """Number of expressed genes of each cell, shape (n_cells,)."""
        return np.diff(self.gene_indptr)

    def cell(self, i: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint16]]:
        """Return the peak tokens, gene tokens and gene counts of cell `i`."""
        peaks = slice(self.peak_indptr[i], self.peak_indptr[i + 1])
        genes = slice(self.gene_indptr[i], self.gene_indptr[i + 1])
        return self.peak_tokens[peaks], self.gene_tokens[genes], self.gene_counts[genes]

    def rows_of(self, cells: pd.Series) -> NDArray[np.int64]:
        """Return the row of each named cell; an unknown one is an error."""
        rows = pd.Index(self.cells["cell"]).get_indexer(pd.Index(cells))
        if (rows < 0).any():
            example = cells[rows < 0].iloc[0]
            message = (
                f"{(rows < 0).sum()} of {len(rows)} cells are not in the token store"
                f" (first: {example}). Rerun split, which names the cells."
            )
            raise ContractError(message)
        return np.asarray(rows, np.int64)


def expression_levels(store: TokenStore, n_bins: int) -> sparse.csr_matrix:
    """Return the target of expression prediction, cells × genes of the vocabulary, uint8.

    Its entries are those of `store.gene_tokens`, in their order: 1 to `n_bins` - 1 each.
    """
    columns = np.asarray(store.gene_tokens) - N_SPECIAL
    entries = (np.asarray(store.gene_counts), columns, np.asarray(store.gene_indptr))
    counts = sparse.csr_matrix(entries, shape=(store.n_cells, store.n_genes))
    levels = bin_expression(counts, n_bins)
    if levels.nnz != len(store.gene_tokens):
        message = "the token store holds genes without a count. Rerun tokenize_cells."
        raise ContractError(message)
    return levels


def write_store(mdata: md.MuData, vocabulary: Vocabulary, directory: Path | str) -> None:
    """Tokenise the cells of an assembled data set and write them as a folder, whole."""
    peaks = peak_tokens(mdata, vocabulary)
    genes = gene_tokens(mdata, vocabulary)
    arrays = {
        "peak_indptr": peaks.indptr,
        "peak_tokens": peaks.indices + N_SPECIAL,
        "gene_indptr": genes.indptr,
        "gene_tokens": genes.indices + N_SPECIAL,
        "gene_counts": genes.data,
        "peak_chromosomes": vocabulary.peak_chromosomes(),
        "gene_chromosomes": vocabulary.gene_chromosomes(),
    }
    with whole(directory) as partial:
        partial.mkdir()
        for name, dtype in ARRAYS.items():
            np.save(partial / f"{name}.npy", np.asarray(arrays[name]).astype(dtype))
        CELLS.write(_cells_of(mdata), partial / "cells.parquet")
        meta = {
            "schema_version": SCHEMA_VERSION,
            "vocabulary_hash": vocabulary.hash,
            "n_cells": mdata.n_obs,
            "n_peak_tokens": int(peaks.nnz),
            "n_gene_tokens": int(genes.nnz),
        }
        (partial / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
    logger.info("store: %d cells, %d peak and %d gene tokens", mdata.n_obs, peaks.nnz, genes.nnz)


def peak_tokens(mdata: md.MuData, vocabulary: Vocabulary) -> sparse.csr_matrix:
    """Return cells × peaks of the vocabulary with sorted indices; every cell has some."""
    atac = mdata["atac"]
    found = atac.var[list(PEAK_COLUMNS)].astype({"chrom": str}).reset_index(drop=True)
    known = vocabulary.peaks[list(PEAK_COLUMNS)]
    if len(found) != len(known) or not (found.to_numpy() == known.to_numpy()).all():
        same = min(len(found), len(known))
        differ = (found[:same].to_numpy() != known[:same].to_numpy()).any(axis=1)
        row = int(np.argmax(differ)) if differ.any() else same
        message = (
            f"the data have {len(found)} peaks, the vocabulary {len(known)}, and they differ from"
            f" row {row + 1} on. A data set is counted on its atlas's peaks; rerun assemble."
        )
        raise DataError(message)
    counts = _stored(counts_of(atac))
    empty = np.flatnonzero(np.diff(counts.indptr) == 0)
    if len(empty):
        message = (
            f"{len(empty)} of {atac.n_obs} cells have no accessible peak (first:"
            f" {atac.obs_names[empty[0]]}). Raise qc.min_atac_reads, or check the peaks."
        )
        raise DataError(message)
    return counts


def gene_tokens(mdata: md.MuData, vocabulary: Vocabulary) -> sparse.csr_matrix:
    """Return raw counts, cells × genes of the vocabulary; genes it does not know are dropped."""
    rna = mdata["rna"]
    columns = match_genes(rna.var, vocabulary)
    known = columns >= 0
    logger.info(
        "genes: %d of %d are in the vocabulary of %d; %d of its genes are missing here",
        known.sum(),
        rna.n_vars,
        vocabulary.n_genes,
        vocabulary.n_genes - known.sum(),
    )
    counts = _stored(counts_of(rna))[:, known].tocoo()
    if counts.nnz and counts.data.max() > np.iinfo(np.uint16).max:
        message = (
            f"a gene has {counts.data.max():,.0f} counts in one cell, above the store's limit"
            f" {np.iinfo(np.uint16).max:,}. Are these cells? See qc.max_rna_umis."
        )
        raise DataError(message)
    entries = (counts.data, (counts.row, columns[known][counts.col]))
    placed = sparse.csr_matrix(entries, shape=(rna.n_obs, vocabulary.n_genes))
    placed.sort_indices()
    return placed


def match_genes(var: pd.DataFrame, vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Return the row in the vocabulary of each gene of `var`, -1 for none.

    Genes match by gene_id where both sides have ids, else by name.
    """
    genes = vocabulary.genes
    has_ids = all("gene_id" in table and (table["gene_id"] != "").all() for table in (var, genes))
    key = "gene_id" if has_ids and genes["gene_id"].is_unique else "gene_name"
    here = var["gene_id"].astype(str) if key == "gene_id" else var.index.to_series().astype(str)
    rows = np.array(pd.Index(genes[key]).get_indexer(pd.Index(here)), np.int64)
    rows[here.duplicated().to_numpy()] = -1
    if not (rows >= 0).any():
        message = (
            f"none of {len(var)} genes is in the vocabulary (here e.g. {', '.join(here[:3])}; there"
            f" e.g. {', '.join(genes[key][:3])}). Matched by {key}; is it the same species and"
            " annotation?"
        )
        raise DataError(message)
    return rows


def _stored(counts: sparse.spmatrix) -> sparse.csr_matrix:
    matrix = sparse.csr_matrix(counts, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _cells_of(mdata: md.MuData) -> pd.DataFrame:
    missing = [name for name in CELL_COLUMNS if name not in mdata.obs]
    if missing:
        message = f"obs lacks {', '.join(missing)}; rerun assemble"
        raise ContractError(message)
    cells: pd.DataFrame = mdata.obs[list(CELL_COLUMNS)].astype(object).fillna("").astype(str)
    cells.insert(0, "cell", mdata.obs_names.astype(str))
    return cells.reset_index(drop=True)


def _check_store(store: TokenStore, meta: dict[str, int], folder: Path) -> None:
    wrong = [
        f"{name} is {getattr(store, name).dtype}, expected {np.dtype(dtype).name}"
        for name, dtype in ARRAYS.items()
        if getattr(store, name).dtype != dtype
    ]
    for kind, tokens in (("peak", store.peak_tokens), ("gene", store.gene_tokens)):
        indptr = getattr(store, f"{kind}_indptr")
        if len(indptr) != store.n_cells + 1 or indptr[-1] != len(tokens):
            wrong.append(f"{kind}_indptr does not fit {store.n_cells} cells")
        if len(tokens) != meta[f"n_{kind}_tokens"]:
            wrong.append(f"{len(tokens)} {kind} tokens, expected {meta[f'n_{kind}_tokens']}")
    if wrong:
        message = f"{folder} is damaged: {'; '.join(wrong)}. Rerun tokenize_cells."
        raise ContractError(message)
