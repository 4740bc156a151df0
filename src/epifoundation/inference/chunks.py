"""Cells × peaks read a few cells at a time, from memory or from an h5ad that stays on disk."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from anndata.abc import CSCDataset, CSRDataset
from anndata.io import read_elem, sparse_dataset
from scipy import sparse

from epifoundation.errors import DataError, in_a_line

logger = logging.getLogger(__name__)

CELLS_PER_CHUNK = 2_048
BYTES_PER_DENSE_CHUNK = 256 * 2**20


@dataclass(frozen=True, eq=False)
class PeakMatrix:
    """Counts of cells × peaks, and where they were found, for messages.

    `values` is a matrix of SciPy or NumPy, or one that is on disk; an entry above zero means that
    the peak is accessible.
    """

    values: Any
    barcodes: pd.Index
    var: pd.DataFrame
    where: str

    @classmethod
    def of(cls, adata: ad.AnnData, layer: str | None = None) -> Self:
        """Return the matrix of an AnnData, which may be backed by its file."""
        if not isinstance(adata, ad.AnnData):
            raise DataError(_no_cells(adata))
        where = str(adata.filename) if adata.isbacked else "the matrix"
        if layer is not None and layer not in adata.layers:
            raise DataError(_no_layer(where, layer, list(adata.layers)))
        values = adata.X if layer is None else adata.layers[layer]
        return cls(_row_wise(values, where), adata.obs_names.astype(str), adata.var, where)

    @classmethod
    @contextmanager
    def open(cls, path: Path, layer: str | None = None) -> Iterator[tuple[Self, pd.DataFrame]]:
        """Open an h5ad for reading in pieces; yields the matrix and its obs."""
        if not path.is_file():
            message = f"{path} is no file. Give the h5ad of the cells."
            raise DataError(message)
        try:
            handle = h5py.File(path, "r")
        except OSError as error:
            message = f"{path} is no h5ad, or was cut short ({error}). Copy or write it again."
            raise DataError(message) from error
        with handle:
            missing = [key for key in ("X", "obs", "var") if key not in handle]
            if missing:
                message = (
                    f"{path} is no h5ad with a matrix: it has no {' and no '.join(missing)}"
                    f" (found: {', '.join(handle) or 'nothing'}). Write it with AnnData.write_h5ad;"
                    " of an h5mu take its modality atac."
                )
                raise DataError(message)
            layers = list(handle["layers"]) if "layers" in handle else []
            if layer is not None and layer not in layers:
                raise DataError(_no_layer(str(path), layer, layers))
            element = handle["X"] if layer is None else handle["layers"][layer]
            try:
                values = sparse_dataset(element) if isinstance(element, h5py.Group) else element
                obs, var = read_elem(handle["obs"]), read_elem(handle["var"])
                matrix = cls(_row_wise(values, str(path)), obs.index.astype(str), var, str(path))
            except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
                message = (
                    f"{path} is damaged or not laid out as an h5ad ({type(error).__name__}:"
                    f" {in_a_line(error)}). Copy it again, or write it with AnnData.write_h5ad."
                )
                raise DataError(message) from error
            yield matrix, obs

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.barcodes)

    def check(self) -> None:
        """Refuse a matrix without cells, of another shape than its names, or of repeated cells."""
        if not self.n_cells or not len(self.var):
            message = (
                f"{self.where} is empty: {self.n_cells:,} cells × {len(self.var):,} peaks. Give"
                " cells × peaks."
            )
            raise DataError(message)
        named = (self.n_cells, len(self.var))
        if tuple(self.values.shape) != named:
            message = (
                f"{self.where}: the matrix is {' × '.join(map(str, self.values.shape))}, but"
                f" {named[0]} cells and {named[1]} peaks have names. Write the file again."
            )
            raise DataError(message)
        repeated = self.barcodes[self.barcodes.duplicated()]
        if len(repeated):
            message = (
                f"{self.where}: {len(repeated):,} of {self.n_cells:,} barcodes repeat (first:"
                f" {repeated[0]}). Put the sample before each, e.g. `sample#barcode`."
            )
            raise DataError(message)

    def chunks(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield the first cell and the accessible peaks of each piece, values checked."""
        step = CELLS_PER_CHUNK
        if not sparse.issparse(self.values) and not isinstance(self.values, CSRDataset):
            step = max(1, BYTES_PER_DENSE_CHUNK // (8 * max(1, self.values.shape[1])))
        for start in range(0, self.n_cells, step):
            chunk = self._read(start, start + step)
            chunk.sum_duplicates()
            self._check_values(chunk, start)
            chunk.eliminate_zeros()
            yield start, chunk

    def _read(self, start: int, end: int) -> sparse.csr_matrix:
        try:
            values = self.values[start:end]
        except OSError as error:
            message = (
                f"{self.where} is damaged: cells {start + 1:,} and after cannot be read"
                f" ({in_a_line(error)}). Copy or write it again."
            )
            raise DataError(message) from error
        if values.dtype.kind not in "biuf":
            message = f"{self.where} holds {values.dtype} and no numbers. Give counts of peaks."
            raise DataError(message)
        if values.dtype == np.float16:  # which SciPy has no sparse matrices of
            values = values.astype(np.float32)
        return sparse.csr_matrix(values)

    def _check_values(self, chunk: sparse.csr_matrix, start: int) -> None:
        values = chunk.data
        if not np.issubdtype(values.dtype, np.floating) and not (
            np.issubdtype(values.dtype, np.signedinteger)
        ):
            return
        wrong = ~((values >= 0) & (values == np.floor(values)) & np.isfinite(values))
        if not wrong.any():
            return
        first = int(np.argmax(wrong))
        cell = start + int(np.searchsorted(chunk.indptr, first, side="right")) - 1
        message = (
            f"{self.where}: {wrong.sum():,} of {len(values):,} values of cells {start + 1:,} to"
            f" {start + chunk.shape[0]:,} are no counts (first: {values[first]:g} of cell"
            f" {self.barcodes[cell]}, peak {self.var.index[chunk.indices[first]]}). Give counts or"
            " zeros and ones, not normalised or scaled values; if they are in a layer, name it"
            " (--layer counts)."
        )
        raise DataError(message)


def _row_wise(values: Any, where: str) -> Any:
    """Return the matrix in an order that gives rows quickly."""
    if values is None:
        message = f"{where} has no matrix X. Give cells × peaks, or name the layer of the counts."
        raise DataError(message)
    if isinstance(values, CSCDataset) or sparse.isspmatrix_csc(values) or (
        sparse.issparse(values) and values.format != "csr"
    ):  # fmt: skip
        logger.info("%s is stored column by column: it is read whole, to be turned", where)
        values = values.to_memory() if isinstance(values, CSCDataset) else values
        return sparse.csr_matrix(values)
    return values


def _no_layer(where: str, layer: str, layers: list[str]) -> str:
    return f"{where} has no layer {layer!r} (found: {', '.join(layers) or 'none'})"


def _no_cells(given: object) -> str:
    if isinstance(given, str | Path):
        return f"{given} is a path. Open it first: anndata.read_h5ad('{given}', backed='r')."
    kind = type(given).__name__
    modality = ", such as its modality atac" if kind == "MuData" else ""
    return f"{kind} is no matrix with names. Give an AnnData, cells × peaks{modality}."
