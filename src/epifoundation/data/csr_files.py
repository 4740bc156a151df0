"""CSR matrices in HDF5 files, read and written a block of rows at a time."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import h5py
import numpy as np
from anndata.io import read_elem
from numpy.typing import NDArray
from scipy import sparse

from epifoundation.errors import ContractError, DiskFullError

BLOCK_ENTRIES = 2**22  # of a block of rows: some 32 MB
CHUNK_ENTRIES = 2**17  # of an HDF5 chunk: half of h5py's cache
ROOM_BYTES = 2**24  # left free on a disk, for what HDF5 has yet to write when it closes a file


def csr_blocks(group: h5py.Group) -> Iterator[sparse.csr_matrix]:
    """Yield the rows of a matrix in order, at most BLOCK_ENTRIES stored values at a time.

    A row is never cut. A matrix stored by columns has to be read whole, and is one block.
    """
    kind = group.attrs.get("encoding-type")
    if kind == "csc_matrix":
        yield sparse.csr_matrix(read_elem(group))
        return
    if kind != "csr_matrix":
        message = f"{group.file.filename}: {group.name} is a {kind}, expected a sparse matrix"
        raise ContractError(message)
    indptr = np.asarray(group["indptr"][:], np.int64)
    start, end = 0, len(indptr) - 1
    while start < end:
        stop = int(np.searchsorted(indptr, indptr[start] + BLOCK_ENTRIES, side="right")) - 1
        stop = max(stop, start + 1)
        part = slice(indptr[start], indptr[stop])
        yield sparse.csr_matrix(
            (group["data"][part], group["indices"][part], indptr[start : stop + 1] - part.start),
            shape=(stop - start, int(group.attrs["shape"][1])),
        )
        start = stop


def take_columns(
    block: sparse.csr_matrix, place: NDArray[np.int64], n_columns: int
) -> sparse.csr_matrix:
    """Return the block with column j at `place[j]` of `n_columns`, or left out where that is -1."""
    columns = place[block.indices]
    kept = columns >= 0
    before = np.concatenate([[0], np.cumsum(kept)])
    taken = sparse.csr_matrix(
        (block.data[kept], columns[kept].astype(np.int32), before[block.indptr]),
        shape=(block.shape[0], n_columns),
    )
    taken.sort_indices()
    return taken


def check_room(path: Path | str, n_bytes: int) -> None:
    """Find out that a disk is full before HDF5 does, which then crashes when the program ends."""
    folder = Path(path).parent
    free = shutil.disk_usage(folder).free
    if free < n_bytes + ROOM_BYTES:
        message = (
            f"{folder}: the disk is full ({free / 2**20:,.0f} MB are left). Free space and start"
            " again; nothing is half-written."
        )
        raise DiskFullError(message)


class RowAppender:
    """Writes matrices that have their entries in the same places, block after block of rows.

    `groups` hold matrices of no rows or no entries, as anndata wrote them; what they hold is
    replaced. Column indices are stored once: the other matrices link to them. Used as a context,
    since the last lines are written at its end.
    """

    def __init__(self, groups: Sequence[h5py.Group], dtypes: Sequence[np.dtype]) -> None:
        self._groups = groups
        self._lengths: list[NDArray[np.int64]] = []
        for group in groups:
            for name in ("data", "indices", "indptr"):
                del group[name]
        self._values = [
            _growing(group, "data", dtype) for group, dtype in zip(groups, dtypes, strict=True)
        ]
        self._indices = _growing(groups[0], "indices", np.dtype(np.int32))

    def append(self, rows: sparse.csr_matrix, *values: NDArray[np.generic]) -> None:
        """Add rows; `values` are those of each matrix, in the order of `rows.indices`."""
        arrays = [rows.indices, *values]
        check_room(self._indices.file.filename, sum(array.nbytes for array in arrays))
        for dataset, array in zip([self._indices, *self._values], arrays, strict=True):
            dataset.resize(len(dataset) + rows.nnz, axis=0)
            dataset[len(dataset) - rows.nnz :] = array
        self._lengths.append(np.diff(rows.indptr))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        indptr = np.concatenate([[0], np.cumsum(np.concatenate([[], *self._lengths]))])
        small = indptr[-1] <= np.iinfo(np.int32).max
        for group in self._groups:
            array = indptr.astype(np.int32 if small else np.int64)
            group.create_dataset("indptr", data=array, compression="lzf")
            group.attrs["shape"] = [len(indptr) - 1, int(group.attrs["shape"][1])]
            if group != self._groups[0]:
                group["indices"] = self._indices


def _growing(group: h5py.Group, name: str, dtype: np.dtype) -> h5py.Dataset:
    return group.create_dataset(
        name,
        shape=(0,),
        maxshape=(None,),
        dtype=dtype,
        chunks=(CHUNK_ENTRIES,),
        compression="lzf",
        shuffle=True,
    )
