"""From the cells of a data set to the token store, some cells at a time."""

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import mudata as md
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from epifoundation.contracts import SCHEMA_VERSION
from epifoundation.data.csr_files import take_columns
from epifoundation.data.multiome_rows import MultiomeRows
from epifoundation.data.store import (
    ARRAYS,
    CELL_COLUMNS,
    CELLS,
    CELLS_FILE,
    FILES,
    META_FILE,
    MOST_GENE_TOKENS,
)
from epifoundation.data.vocabulary import N_SPECIAL, Vocabulary
from epifoundation.errors import ContractError, DataError
from epifoundation.files import file_hash, whole, with_progress
from epifoundation.multiome import PEAK_COLUMNS

logger = logging.getLogger(__name__)

MOST_COUNTS = int(np.iinfo(np.uint16).max)


def write_store(
    cells: md.MuData | MultiomeRows, vocabulary: Vocabulary, directory: Path | str
) -> None:
    """Tokenise the cells of an assembled data set and write them as a folder, whole."""
    rows = MultiomeRows.of(cells)
    with whole(directory) as partial:
        partial.mkdir()
        fits = vocabulary.n_genes + N_SPECIAL <= MOST_GENE_TOKENS
        types = ARRAYS | ({} if fits else {"gene_tokens": np.int32})
        n_peaks = _write_tokens(peak_rows(rows, vocabulary), partial, "peak", types)
        n_genes = _write_tokens(gene_rows(rows, vocabulary), partial, "gene", types)
        _save(partial, "peak_chromosomes", vocabulary.peak_chromosomes())
        _save(partial, "gene_chromosomes", vocabulary.gene_chromosomes())
        CELLS.write(_cells_of(rows), partial / CELLS_FILE)
        meta = {
            "schema_version": SCHEMA_VERSION,
            "vocabulary_hash": vocabulary.hash,
            "n_cells": len(rows),
            "n_peak_tokens": n_peaks,
            "n_gene_tokens": n_genes,
            "digests": {name: file_hash(partial / name) for name in FILES},
        }
        (partial / META_FILE).write_text(json.dumps(meta, indent=2) + "\n")
    logger.info("store: %d cells, %d peak and %d gene tokens", len(rows), n_peaks, n_genes)


def peak_rows(rows: MultiomeRows, vocabulary: Vocabulary) -> Iterator[sparse.csr_matrix]:
    """Yield cells × peaks of the vocabulary with sorted indices; every cell has some."""
    found = rows.var("atac")[list(PEAK_COLUMNS)].astype({"chrom": str}).reset_index(drop=True)
    known = vocabulary.peaks[list(PEAK_COLUMNS)]
    same = min(len(found), len(known))
    differ = (found[:same].to_numpy() != known[:same].to_numpy()).any(axis=1)
    if len(found) != len(known) or differ.any():
        row = int(np.argmax(differ)) if differ.any() else same
        message = (
            f"the data have {len(found)} peaks, the vocabulary {len(known)}, and they differ from"
            f" row {row + 1} on. A data set is counted on its atlas's peaks; rerun assemble."
        )
        raise DataError(message)
    empty: list[int] = []
    start = 0
    for counts in rows.blocks("atac"):
        empty.extend(start + np.flatnonzero(np.diff(counts.indptr) == 0))
        start += counts.shape[0]
        yield counts
    if empty:
        message = (
            f"{len(empty)} of {len(rows)} cells have no accessible peak (first:"
            f" {rows.obs.index[empty[0]]}). Raise qc.min_atac_reads, or check the peaks."
        )
        raise DataError(message)


def gene_rows(rows: MultiomeRows, vocabulary: Vocabulary) -> Iterator[sparse.csr_matrix]:
    """Yield raw counts, cells × genes of the vocabulary; genes it does not know are dropped."""
    var = rows.var("rna")
    place = match_genes(var, vocabulary)
    known = (place >= 0).sum()
    logger.info(
        "genes: %d of %d are in the vocabulary of %d; %d of its genes are missing here",
        *(known, len(var), vocabulary.n_genes, vocabulary.n_genes - known),
    )
    start = 0
    for block in rows.blocks("rna"):
        counts = take_columns(block, place, vocabulary.n_genes)
        if counts.data.max(initial=0) > MOST_COUNTS:
            _refuse_many(counts, rows, start, vocabulary)
        start += counts.shape[0]
        yield counts


def _refuse_many(
    counts: sparse.csr_matrix, rows: MultiomeRows, start: int, vocabulary: Vocabulary
) -> None:
    entries = counts.tocoo()
    most = int(np.argmax(entries.data))
    gene = vocabulary.genes["gene_name"].iloc[entries.col[most]]
    message = (
        f"{(entries.data > MOST_COUNTS).sum()} counts are above the store's limit {MOST_COUNTS:,}"
        f" (gene {gene} has {entries.data[most]:,.0f} counts in"
        f" {rows.obs.index[start + entries.row[most]]}). Are these cells? Lower qc.max_rna_umis."
    )
    raise DataError(message)


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


class ArrayAppender:
    """Writes a one-dimensional .npy file piece by piece; its header is completed at the end."""

    def __init__(self, path: Path, dtype: type[np.generic]) -> None:
        self._dtype = np.dtype(dtype)
        self._file = path.open("wb")
        self._length = 0
        self._write_header()

    def append(self, values: NDArray[np.generic]) -> None:
        """Add values, which the dtype must be able to hold."""
        self._file.write(values.astype(self._dtype).tobytes())
        self._length += len(values)

    def _write_header(self) -> None:
        # numpy leaves room in the header for any length, so that it keeps its size
        description = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._length,),
        }
        np.lib.format.write_array_header_1_0(self._file, description)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._file.seek(0)
            self._write_header()
        self._file.close()


def _write_tokens(
    blocks: Iterator[sparse.csr_matrix],
    folder: Path,
    kind: str,
    types: dict[str, type[np.generic]],
) -> int:
    """Write `<kind>_tokens` and `<kind>_indptr` (and gene_counts); return the number of tokens."""
    names = [f"{kind}_tokens", *(["gene_counts"] if kind == "gene" else [])]
    lengths: list[NDArray[np.int64]] = []
    with ExitStack() as files:
        writers = [
            files.enter_context(ArrayAppender(folder / f"{name}.npy", types[name]))
            for name in names
        ]
        for block in with_progress(blocks, f"blocks of cells, {kind}s", logger=logger):
            for writer, values in zip(
                writers, (block.indices + N_SPECIAL, block.data), strict=False
            ):
                writer.append(values)
            lengths.append(np.diff(block.indptr))
    indptr = np.concatenate([[0], np.cumsum(np.concatenate([[], *lengths]))])
    _save(folder, f"{kind}_indptr", indptr)
    return int(indptr[-1])


def _save(folder: Path, name: str, values: NDArray[np.generic]) -> None:
    np.save(folder / f"{name}.npy", values.astype(ARRAYS[name]))


def _cells_of(rows: MultiomeRows) -> pd.DataFrame:
    missing = [name for name in CELL_COLUMNS if name not in rows.obs]
    if missing:
        message = f"obs lacks {', '.join(missing)}; rerun assemble"
        raise ContractError(message)
    cells: pd.DataFrame = rows.obs[list(CELL_COLUMNS)].astype(object).fillna("").astype(str)
    cells.insert(0, "cell", rows.obs.index.astype(str))
    return cells.reset_index(drop=True)
