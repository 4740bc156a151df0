"""Cells as tokens in memory-mapped arrays, so that training reads only the cells it needs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from epifoundation.contracts import SCHEMA_VERSION, Table
from epifoundation.data.expression import bin_expression
from epifoundation.data.vocabulary import N_SPECIAL, Vocabulary
from epifoundation.errors import ContractError, in_a_line
from epifoundation.files import file_hash

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
    "gene_tokens": np.uint16,
    "gene_counts": np.uint16,
    "peak_chromosomes": np.int32,
    "gene_chromosomes": np.int32,
}


MOST_GENE_TOKENS = 2**16  # of uint16; a larger vocabulary's are int32, as older stores' all are
META_FILE, CELLS_FILE = "meta.json", "cells.parquet"
META_KEYS = ("vocabulary_hash", "n_cells", "n_peak_tokens", "n_gene_tokens")
FILES = (*(f"{name}.npy" for name in ARRAYS), CELLS_FILE)  # of which META_FILE holds the digests
PLACES = 256


@dataclass(frozen=True, eq=False)
class TokenStore:
    """Tokens of all cells, end to end; those of cell i lie between entries i and i + 1 of indptr.

    `peak_tokens` are the ids of a cell's accessible peaks, ascending; `gene_tokens` those of its
    expressed genes, with raw `gene_counts`. `peak_chromosomes` and `gene_chromosomes` give the
    chromosome id of every token id. All arrays are read-only views of mapped files. `cells` has a
    row per cell: cell (`<sample>#<barcode>`), sample, batch, tissue, donor, cell_type.
    """

    peak_indptr: NDArray[np.int64]
    peak_tokens: NDArray[np.int32]
    gene_indptr: NDArray[np.int64]
    gene_tokens: NDArray[np.uint16] | NDArray[np.int32]
    gene_counts: NDArray[np.uint16]
    peak_chromosomes: NDArray[np.int32]
    gene_chromosomes: NDArray[np.int32]
    cells: pd.DataFrame
    vocabulary_hash: str

    @classmethod
    def open(
        cls,
        directory: Path | str,
        *,
        vocabulary: Vocabulary | None = None,
        every_byte: bool = False,
    ) -> Self:
        """Map the store at `directory`; with `vocabulary`, refuse one made with another.

        Sizes, types and a few places of every array are looked at. `every_byte` reads the files
        through and holds them to the digests they were written with, a second or two per gigabyte;
        stores written before there were digests pass.
        """
        folder = Path(directory)
        try:
            meta = _read_meta(folder)
            # A slice of a plain array costs a tenth of one of np.memmap.
            arrays = {
                name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in ARRAYS
            }
            cells = CELLS.read(folder / CELLS_FILE)
            store = cls(**arrays, cells=cells, vocabulary_hash=meta["vocabulary_hash"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = (
                f"{folder} is no token store, or was copied in part ({in_a_line(error)}). Copy it"
                " again, or rerun tokenize_cells."
            )
            raise ContractError(message) from error
        _check_store(store, meta, folder)
        if every_byte:
            _check_digests(folder, meta.get("digests", {}))
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
    def n_cell_genes(self) -> NDArray[np.int64]:
        """Number of expressed genes of each cell, shape (n_cells,)."""
        return np.diff(self.gene_indptr)

    def cell(self, i: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint16]]:
        """Return the peak tokens, gene tokens and gene counts of cell `i`."""
        peaks = slice(self.peak_indptr[i], self.peak_indptr[i + 1])
        genes = slice(self.gene_indptr[i], self.gene_indptr[i + 1])
        gene_tokens = self.gene_tokens[genes].astype(np.int32)
        return self.peak_tokens[peaks], gene_tokens, self.gene_counts[genes]

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


def gene_counts(store: TokenStore, rows: NDArray[np.int64] | None = None) -> sparse.csr_matrix:
    """Return raw counts, cells × genes of the vocabulary, uint16, of all cells or of `rows`."""
    indptr = np.asarray(store.gene_indptr)
    entries: slice | NDArray[np.int64] = slice(None)
    if rows is not None:
        starts, lengths = indptr[rows], store.n_cell_genes[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        entries = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
    columns = store.gene_tokens[entries].astype(np.int32) - N_SPECIAL
    shape = (len(indptr) - 1, store.n_genes)
    return sparse.csr_matrix((store.gene_counts[entries], columns, indptr), shape=shape)


def expression_levels(
    store: TokenStore, n_bins: int, rows: NDArray[np.int64] | None = None
) -> sparse.csr_matrix:
    """Return the target of expression prediction, cells × genes of the vocabulary, uint8.

    Of all cells, or of `rows`, which alone are read then. Its entries are those of
    `store.gene_tokens`, in their order: 1 to `n_bins` - 1 each.
    """
    counts = gene_counts(store, rows)
    levels = bin_expression(counts, n_bins)
    if levels.nnz != len(counts.indices):
        message = "the token store holds genes without a count. Rerun tokenize_cells."
        raise ContractError(message)
    return levels


def _read_meta(folder: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((folder / META_FILE).read_text())
    if lacking := {"schema_version", *META_KEYS} - set(meta):
        message = f"{META_FILE} lacks {', '.join(sorted(lacking))}"
        raise KeyError(message)
    if meta["schema_version"] != SCHEMA_VERSION:
        message = (
            f"{folder} has schema version {meta['schema_version']}, this version of epifoundation"
            f" reads {SCHEMA_VERSION}. Rerun tokenize_cells."
        )
        raise ContractError(message)
    return meta


def _check_store(store: TokenStore, meta: dict[str, Any], folder: Path) -> None:
    wrong = [
        f"{name} is {getattr(store, name).dtype}, expected {np.dtype(dtype).name}"
        for name, dtype in ARRAYS.items()
        if getattr(store, name).dtype != dtype
        and (name, getattr(store, name).dtype) != ("gene_tokens", np.int32)
    ]
    if store.n_cells != meta["n_cells"]:
        wrong.append(f"{store.n_cells} cells, expected {meta['n_cells']}")
    for kind, tokens in (("peak", store.peak_tokens), ("gene", store.gene_tokens)):
        indptr = getattr(store, f"{kind}_indptr")
        fits = len(indptr) == store.n_cells + 1 and indptr[0] == 0 and indptr[-1] == len(tokens)
        if not fits or (np.diff(indptr) < 0).any():
            wrong.append(f"{kind}_indptr does not fit {store.n_cells} cells")
        if len(tokens) != meta[f"n_{kind}_tokens"]:
            wrong.append(f"{len(tokens)} {kind} tokens, expected {meta[f'n_{kind}_tokens']}")
        n_ids = len(getattr(store, f"{kind}_chromosomes"))
        seen = _here_and_there(tokens)
        if ((seen < N_SPECIAL) | (seen >= n_ids)).any():
            wrong.append(f"{kind}_tokens.npy holds ids that are none of {n_ids}")
    if len(store.gene_counts) != len(store.gene_tokens):
        wrong.append(f"{len(store.gene_counts)} gene_counts for {len(store.gene_tokens)} tokens")
    if (_here_and_there(store.gene_counts) == 0).any():
        wrong.append("gene_counts.npy holds zeros")
    if wrong:
        message = (
            f"{folder} is damaged: {'; '.join(wrong)}. Copy it again, or rerun tokenize_cells."
        )
        raise ContractError(message)


def _here_and_there(values: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return some values from the first to the last: a copy that stopped leaves holes of zeros.

    So few that opening stays quick however large the file is.
    """
    places = np.linspace(0, len(values) - 1, min(PLACES, len(values))).astype(np.int64)
    return values[places].astype(np.int64)


def _check_digests(folder: Path, digests: dict[str, str]) -> None:
    changed = [name for name, digest in digests.items() if file_hash(folder / name) != digest]
    if changed:
        message = (
            f"{folder} is damaged: {', '.join(changed)} {'is' if len(changed) == 1 else 'are'} not"
            " what was written. Copy the store again, or rerun tokenize_cells."
        )
        raise ContractError(message)
