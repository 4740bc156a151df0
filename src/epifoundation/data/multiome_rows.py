"""A multiome of which only names and annotations are held in memory; counts come in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import h5py
import mudata as md
import numpy as np
import pandas as pd
from anndata.io import read_elem
from scipy import sparse

from epifoundation.contracts import SCHEMA_VERSION
from epifoundation.data.csr_files import csr_blocks
from epifoundation.errors import ContractError
from epifoundation.multiome import PEAK_COLUMNS, check_multiome, counts_of

Modality = Literal["rna", "atac"]


@dataclass(frozen=True, eq=False)
class MultiomeRows:
    """Cells of a multiome, of a file or in memory, to go through in their order.

    `obs` is the global obs, a row per cell.
    """

    name: str
    obs: pd.DataFrame
    source: Path | md.MuData

    @classmethod
    def open(cls, path: Path | str, *, needs_obs: tuple[str, ...] = ()) -> Self:
        """Return the cells of an h5mu file; its global obs must have the columns `needs_obs`."""
        try:
            with h5py.File(path) as file:
                obs = read_elem(file["obs"])
                names = [read_elem(file[f"mod/{part}/obs"]).index for part in ("rna", "atac")]
                lacking = [name for name in PEAK_COLUMNS if name not in file["mod/atac/var"]]
                schema = read_elem(file["uns"]).get("schema_version", SCHEMA_VERSION)
        except (OSError, KeyError) as error:
            raise _unreadable(path, error) from error
        problems = []
        if not obs.index.is_unique:
            repeated = obs.index[obs.index.duplicated()]
            problems.append(f"{len(repeated)} cells repeat (first: {repeated[0]})")
        if not all(index.equals(obs.index) for index in names):
            problems.append("rna and atac do not hold the same cells in the same order")
        if lacking:
            problems.append(f"atac var lacks {', '.join(lacking)}")
        if missing := [name for name in needs_obs if name not in obs]:
            problems.append(f"obs lacks {', '.join(missing)}")
        if schema != SCHEMA_VERSION:
            problems.append(f"it has schema version {schema}, this is {SCHEMA_VERSION}; remake it")
        if obs.empty:
            problems.append("it has no cell")
        if problems:
            details = "\n".join(f"  - {problem}" for problem in problems)
            message = f"{path} is not a usable multiome:\n{details}"
            raise ContractError(message)
        return cls(str(path), obs, Path(path))

    @classmethod
    def of(cls, cells: "md.MuData | MultiomeRows") -> "MultiomeRows":
        """Return cells that are in memory, or what was opened already, as it is."""
        if isinstance(cells, MultiomeRows):
            return cells
        check_multiome(cells, "the multiome")
        return cls("the multiome", cells.obs, cells)

    def __len__(self) -> int:
        return len(self.obs)

    def var(self, modality: Modality) -> pd.DataFrame:
        """Return what is said of the genes or peaks."""
        if isinstance(self.source, md.MuData):
            return pd.DataFrame(self.source[modality].var)
        with h5py.File(self.source) as file:
            return pd.DataFrame(read_elem(file[f"mod/{modality}/var"]))

    def blocks(self, modality: Modality) -> Iterator[sparse.csr_matrix]:
        """Yield the raw counts, some rows at a time, with sorted indices and no stored zero."""
        for block in self._stored(modality):
            counts = sparse.csr_matrix(block, copy=not isinstance(self.source, Path))
            counts.sum_duplicates()
            counts.eliminate_zeros()
            values = counts.data
            if n_unknown := int((~np.isfinite(values)).sum()):
                message = f"{self.name}: {n_unknown:,} {modality} counts are NaN or infinite"
                raise ContractError(message)
            if not np.array_equal(values, np.floor(values)) or values.min(initial=0) < 0:
                message = f"{self.name}: {modality} counts hold fractions or are negative"
                raise ContractError(message)
            yield counts

    def _stored(self, modality: Modality) -> Iterator[sparse.csr_matrix]:
        if isinstance(self.source, md.MuData):
            yield counts_of(self.source[modality])
            return
        try:
            with h5py.File(self.source) as file:
                part = file[f"mod/{modality}"]
                counts = "layers/counts" if "layers/counts" in part else "X"
                yield from csr_blocks(part[counts])
        except (OSError, KeyError) as error:
            raise _unreadable(self.source, error) from error


def _unreadable(path: Path | str, error: Exception) -> ContractError:
    reason = str(error).strip().partition("\n")[0]
    return ContractError(f"{path} cannot be read as h5mu ({reason}). Remake it, or fetch it again.")
