"""Matrices of an .h5ad stored by columns, or dense, rewritten by rows without holding them."""

import logging
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from anndata.io import write_elem
from numpy.typing import NDArray
from scipy import sparse

from epifoundation.data.csr_files import BLOCK_ENTRIES, RowAppender, check_room
from epifoundation.errors import DataError
from epifoundation.files import with_progress

logger = logging.getLogger(__name__)

READ_ENTRIES = 2**23  # of a matrix by columns, at once
RANGE_ENTRIES = 2**25  # of a range of rows, sorted in memory: some 800 MB
ENTRY = np.dtype([("row", np.int32), ("column", np.int32), ("value", np.float64)])


def by_rows(stored: h5py.Group | h5py.Dataset, folder: Path) -> h5py.Group:
    """Return a matrix as a CSR group: itself, or a copy in a file in `folder`, which stays open."""
    kind = stored.attrs.get("encoding-type", "array")
    if kind == "csr_matrix":
        return stored
    if kind == "array" and isinstance(stored, h5py.Group):
        message = (
            f"{stored.file.filename}: {stored.name} is of an old format of anndata. Read it by"
            " anndata.read_h5ad and write it again."
        )
        raise DataError(message)
    if kind not in ("csc_matrix", "array"):
        message = f"{stored.file.filename}: {stored.name} is a {kind}, expected a matrix of counts"
        raise DataError(message)
    shape = tuple(map(int, stored.attrs["shape"] if kind == "csc_matrix" else stored.shape))
    logger.info("%s: %s, a %s, is rewritten by rows", stored.file.filename, stored.name, kind)
    number = sum(1 for _ in folder.glob("rows*.h5"))
    file = h5py.File(folder / f"rows{number}.h5", "w")
    write_elem(file, "X", sparse.csr_matrix(shape, dtype=np.float64))
    blocks = _of_columns(stored, shape, folder) if kind == "csc_matrix" else _of_dense(stored)
    with RowAppender([file["X"]], [np.dtype(np.float64)]) as rows:
        for block in with_progress(blocks, f"{stored.name} by rows, blocks", logger=logger):
            rows.append(block, block.data)
    return file["X"]


def _of_dense(stored: h5py.Dataset) -> Iterator[sparse.csr_matrix]:
    step = max(1, BLOCK_ENTRIES // max(1, stored.shape[1]))
    for start in range(0, stored.shape[0], step):
        yield sparse.csr_matrix(stored[start : start + step])


def _of_columns(
    stored: h5py.Group, shape: tuple[int, ...], folder: Path
) -> Iterator[sparse.csr_matrix]:
    """Yield ranges of rows: entries are dealt to a file of each range, and sorted there."""
    indptr = np.asarray(stored["indptr"][:], np.int64)
    check_room(folder / "entries", int(indptr[-1]) * ENTRY.itemsize)
    per_row = np.zeros(shape[0], np.int64)
    for part in _parts(int(indptr[-1])):
        per_row += np.bincount(stored["indices"][part], minlength=shape[0])
    bounds = _ranges(per_row)
    files = [folder / f"entries{i}" for i in range(len(bounds) - 1)]
    for part in _parts(int(indptr[-1])):
        entries = np.empty(part.stop - part.start, ENTRY)
        entries["row"] = stored["indices"][part]
        entries["value"] = stored["data"][part]
        place = np.arange(part.start, part.stop)
        entries["column"] = np.searchsorted(indptr, place, side="right") - 1
        of_range = np.searchsorted(bounds, entries["row"], side="right") - 1
        for number in np.unique(of_range):
            with files[number].open("ab") as handle:
                entries[of_range == number].tofile(handle)
    for path, start, stop in zip(files, bounds[:-1], bounds[1:], strict=True):
        entries = np.fromfile(path, ENTRY) if path.exists() else np.empty(0, ENTRY)
        path.unlink(missing_ok=True)
        order = np.argsort(entries["row"], kind="stable")  # columns come in order already
        lengths = np.concatenate([[0], np.cumsum(per_row[start:stop])])
        yield sparse.csr_matrix(
            (entries["value"][order], entries["column"][order], lengths),
            shape=(stop - start, shape[1]),
        )


def _parts(n: int) -> Iterator[slice]:
    for start in range(0, n, READ_ENTRIES):
        yield slice(start, min(start + READ_ENTRIES, n))


def _ranges(per_row: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first rows of ranges of at most RANGE_ENTRIES entries, and the number of rows."""
    before = np.concatenate([[0], np.cumsum(per_row)])
    bounds = [0]
    while bounds[-1] < per_row.size:
        end = np.searchsorted(before, before[bounds[-1]] + RANGE_ENTRIES, side="right") - 1
        bounds.append(max(int(end), bounds[-1] + 1))
    return np.array(bounds, np.int64)
