"""Paired .h5ad files larger than memory, such as the authors' released atlas, to cells.

Cells and features are read at once, counts some rows at a time: once to measure the cells, once to
write those that are kept.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem
from numpy.typing import NDArray
from scipy import sparse

from epifoundation.config import QcConfig
from epifoundation.data.by_rows import by_rows
from epifoundation.data.cells import cell_obs, cells_of_matrices
from epifoundation.data.criteria import filter_cells, qc_alternatives
from epifoundation.data.csr_files import RowAppender, check_room, csr_blocks, take_columns
from epifoundation.data.gzipped import unpacked
from epifoundation.data.imports import (
    GENE_FEATURES,
    PEAK_FEATURES,
    check_unique,
    genes_of_file,
    kept_obs,
    of_modality,
    pair,
    peaks_of_file,
    read_atac,
    read_rna,
)
from epifoundation.data.normalised import integers_of
from epifoundation.data.qc import rna_metrics, row_sums
from epifoundation.errors import DataError
from epifoundation.files import whole, with_progress
from epifoundation.multiome import multiome, write_multiome
from epifoundation.samples import Sample

logger = logging.getLogger(__name__)

LARGE_BYTES = 2**28  # both files together; smaller ones are read whole, whatever their format
ROW = "row in the file of ATAC"
ROWS_AT_ONCE = 2_000  # where cells are in another order than in the file
Tables = tuple[pd.DataFrame, pd.DataFrame]


def import_cells(
    rna: Path | str,
    atac: Path | str,
    output: Path | str,
    sample: Sample,
    qc: QcConfig | None,
    genes: pd.DataFrame | None,
    *,
    mitochondrial: str,
    large: int = LARGE_BYTES,
) -> Tables:
    """Write the cells of paired matrices as h5mu, as `cells_of_matrices` makes them.

    Returns contracts.QC_FUNNEL and QC_ALTERNATIVES. Formats are those of `read_rna`; two .h5ad of
    more than `large` bytes are never held in memory.
    """
    paths = (Path(rna), Path(atac))
    if all(path.is_file() and path.name.endswith((".h5ad", ".h5ad.gz")) for path in paths):
        with ExitStack() as stack:
            files = {path: stack.enter_context(unpacked(path)) for path in dict.fromkeys(paths)}
            if sum(file.stat().st_size for file in files.values()) > large:
                opened = (files[paths[0]], files[paths[1]])
                return _stream(opened, Path(output), sample, qc, genes, mitochondrial)
    cells, funnel, alternatives = cells_of_matrices(
        read_rna(rna, genes), read_atac(atac), sample, qc, mitochondrial=mitochondrial
    )
    write_multiome(cells, output)
    return funnel, alternatives


@dataclass(frozen=True)
class CountsFile:
    """An open .h5ad: what it says of cells and features, and where its counts are.

    `place` is the column of each stored feature, -1 if it is of another modality.
    """

    path: Path
    obs: pd.DataFrame
    var: pd.DataFrame
    counts: h5py.Group
    place: NDArray[np.int64]

    @classmethod
    def open(cls, path: Path, features: tuple[str, ...], scratch: Path, stack: ExitStack) -> Self:
        """Open until the end of `stack`; of layers/counts, X and raw/X the first with counts.

        Of features with types those of `features` are taken. Matrices stored otherwise than by rows
        are rewritten in `scratch`.
        """
        try:
            file = stack.enter_context(h5py.File(path))
            obs, var = kept_obs(read_elem(file["obs"])), read_elem(file["var"])
            places = [file[name] for name in ("layers/counts", "X", "raw/X") if name in file]
        except (OSError, KeyError) as error:
            reason = str(error).strip().partition("\n")[0]
            message = f"{path} cannot be read as h5ad ({reason}). Remake it, or fetch it again."
            raise DataError(message) from error
        wanted = of_modality(var, features, path)
        place = np.where(wanted, np.cumsum(wanted) - 1, -1)
        for stored in places:
            group = by_rows(stored, scratch)
            if group is not stored:
                stack.enter_context(group.file)
            if not obs.empty and integers_of(next(csr_blocks(group))) is not None:
                logger.info("%s: %d cells × %d, counts from %s", path, *group.attrs["shape"], group)
                return cls(path, obs, var[wanted], group, place)
        message = (
            f'{path} holds no integer counts in layers["counts"], X or raw.X, nor log-normalised'
            " ones that counts could be recovered from. Give the raw counts."
        )
        raise DataError(message)

    def blocks(self, rows: NDArray[np.int64]) -> Iterator[sparse.csr_matrix]:
        """Yield integer counts of the given rows in that order, some at a time."""
        if (np.diff(rows) > 0).all():
            wanted = np.zeros(len(self.obs), np.bool_)
            wanted[rows] = True
            first = 0
            for block in csr_blocks(self.counts):
                here = np.flatnonzero(wanted[first : first + block.shape[0]])
                first += block.shape[0]
                if here.size:
                    yield self._integers(block if here.size == block.shape[0] else block[here])
            return
        indptr = np.asarray(self.counts["indptr"][:], np.int64)
        for begin in range(0, rows.size, ROWS_AT_ONCE):
            part = rows[begin : begin + ROWS_AT_ONCE]
            yield self._integers(self._gather(part, indptr))

    def _gather(self, rows: NDArray[np.int64], indptr: NDArray[np.int64]) -> sparse.csr_matrix:
        """Return rows of any order, each read by itself."""
        values = {}
        for row in np.sort(rows):  # neighbours in the file share its compressed chunks
            place = slice(indptr[row], indptr[row + 1])
            values[row] = (self.counts["data"][place], self.counts["indices"][place])
        data, indices = (np.concatenate([values[row][i] for row in rows]) for i in (0, 1))
        ends = np.concatenate([[0], np.cumsum(indptr[rows + 1] - indptr[rows])])
        return sparse.csr_matrix((data, indices, ends), shape=(rows.size, self.place.size))

    def _integers(self, block: sparse.csr_matrix) -> sparse.csr_matrix:
        if (self.place < 0).any():
            block = take_columns(block, self.place, len(self.var))
        counts = integers_of(block)
        if counts is None:
            message = (
                f"{self.path}: {self.counts.name} holds fractions, negative or unknown values among"
                " its counts. Give the raw counts."
            )
            raise DataError(message)
        return counts


def _stream(
    paths: tuple[Path, Path],
    output: Path,
    sample: Sample,
    qc: QcConfig | None,
    genes: pd.DataFrame | None,
    mitochondrial: str,
) -> Tables:
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(dir=output.parent, prefix=".scratch-"))
        rna = CountsFile.open(paths[0], GENE_FEATURES, Path(folder), stack)
        atac = CountsFile.open(paths[1], PEAK_FEATURES, Path(folder), stack)
        var = genes_of_file(rna.var, genes, rna.path)
        peaks = peaks_of_file(atac.var, atac.path)
        obs, rows = _paired(rna, atac, sample)
        n_in_peaks = [row_sums(ad.AnnData(block)) for block in _progress(atac, rows)]
        metrics = pd.DataFrame(
            {
                "barcode": obs.index.to_numpy(dtype=object),
                **_rna_metrics(rna, var, mitochondrial),
                "n_atac_in_peaks": np.concatenate(n_in_peaks),
            }
        )
        alternatives = qc_alternatives(metrics, qc)
        cells, funnel = filter_cells(metrics, qc, sample=sample.sample)
        kept = pd.Index(metrics["barcode"]).get_indexer(cells["barcode"]).astype(np.int64)
        described = cell_obs(cells, obs.iloc[kept].reset_index(drop=True), sample)
        with whole(output) as partial:
            _write_without_counts(described, var, peaks, partial)
            with h5py.File(partial, "r+") as file:
                _append(file["mod/rna/X"], rna, kept)
                _append(file["mod/atac/X"], atac, rows[kept])
    logger.info("%s: %d cells, %d genes, %d peaks", sample.sample, len(cells), len(var), len(peaks))
    return funnel, alternatives


def _paired(
    rna: CountsFile, atac: CountsFile, sample: Sample
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the cells in the order of `rna`, and the row each has in `atac`."""
    tables = [_unique_names(part) for part in (rna, atac)]
    tables[1] = tables[1].assign(**{ROW: np.arange(len(tables[1]))})
    shells = pair(*map(_without_features, tables), where=f"sample {sample.sample}")
    obs = shells[0].obs
    return obs.drop(columns=ROW), obs[ROW].to_numpy(np.int64)


def _without_features(obs: pd.DataFrame) -> ad.AnnData:
    return ad.AnnData(obs=obs)


def _unique_names(part: CountsFile) -> pd.DataFrame:
    """Return the cells; barcodes that several batches share get the batch before them."""
    if part.obs.index.is_unique or "batch" not in part.obs:
        check_unique(part.obs.index, part.path)
        return part.obs
    named = part.obs["batch"] + ":" + part.obs.index
    logger.info("%s: barcodes repeat between batches; named as %s", part.path, named.iloc[0])
    check_unique(pd.Index(named), part.path)
    return part.obs.set_axis(pd.Index(named), axis=0)


def _rna_metrics(
    rna: CountsFile, var: pd.DataFrame, mitochondrial: str
) -> dict[str, NDArray[np.generic]]:
    rows = np.arange(len(rna.obs))
    parts = [
        rna_metrics(ad.AnnData(block, var=var), mitochondrial) for block in _progress(rna, rows)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _write_without_counts(
    obs: pd.DataFrame, genes: pd.DataFrame, peaks: pd.DataFrame, path: Path
) -> None:
    """Write the multiome with all but its counts."""
    parts = [
        ad.AnnData(
            sparse.csr_matrix((len(obs), len(var)), dtype=np.int32),
            obs=pd.DataFrame(index=obs.index),
            var=var,
        )
        for var in (genes, peaks)
    ]
    names = sum(int(table.memory_usage(deep=True).sum()) for table in (obs, genes, peaks))
    check_room(path, 3 * names)  # the global obs and var repeat the names
    multiome(parts[0], parts[1], obs).write_h5mu(path, compression="lzf")


def _append(group: h5py.Group, part: CountsFile, rows: NDArray[np.int64]) -> None:
    with RowAppender([group], [np.dtype(np.int32)]) as appender:
        for block in _progress(part, rows):
            appender.append(block, block.data)


def _progress(part: CountsFile, rows: NDArray[np.int64]) -> Iterator[sparse.csr_matrix]:
    return iter(with_progress(part.blocks(rows), f"{part.path.name}, blocks", logger=logger))
