"""Regions of the genome as arrays: which of them a fragment overlaps, counts per barcode."""

import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from epifoundation.data.gzipped import open_bytes
from epifoundation.errors import DataError

Array = npt.NDArray[Any]
PENDING_PAIRS = 2**22
LARGEST = 2**31 - 1  # base of a chromosome that is counted
NO_REGION = re.compile(r"#|track\b|browser\b|\s*$")


class RegionIndex:
    """Finds overlaps of fragments with regions that may overlap each other.

    `regions` has `chrom`, `start`, `end` (0-based, half-open; a start may be negative), in any
    order.
    """

    def __init__(self, regions: pd.DataFrame) -> None:
        self._by_chromosome: dict[str, tuple[Array, Array, Array, Array]] = {}
        chromosome = regions["chrom"].to_numpy(dtype=object)
        start = regions["start"].to_numpy(dtype=np.int64)
        end = regions["end"].to_numpy(dtype=np.int64)
        codes, names = pd.factorize(chromosome)
        for code, name in enumerate(names):
            rows = np.flatnonzero(codes == code)
            rows = rows[np.argsort(start[rows], kind="stable")]
            furthest = np.maximum.accumulate(end[rows])
            self._by_chromosome[str(name)] = (rows, start[rows], end[rows], furthest)

    def overlaps(self, chromosome: str, start: Array, end: Array) -> tuple[Array, Array]:
        """Return (fragment, region) positions of every pair that shares at least one base."""
        nothing = np.empty(0, dtype=np.int64)
        if chromosome not in self._by_chromosome or not len(start):
            return nothing, nothing
        rows, starts, ends, furthest = self._by_chromosome[chromosome]
        # From the first region that may reach the fragment to the last that starts before its end.
        first = np.searchsorted(furthest, start, side="right")
        n_candidates = np.searchsorted(starts, end, side="left") - first
        hit = np.flatnonzero(n_candidates > 0)
        n_candidates = n_candidates[hit]
        fragment = np.repeat(hit, n_candidates)
        offset = np.arange(len(fragment)) - np.repeat(
            np.cumsum(n_candidates) - n_candidates, n_candidates
        )
        candidate = first[fragment] + offset
        touching = ends[candidate] > start[fragment]
        return fragment[touching], rows[candidate[touching]]


class PairCounts:
    """Counts (row, column) pairs that arrive in pieces, in memory of the order of the result."""

    def __init__(self, n_rows: int, n_columns: int) -> None:
        self._shape = (n_rows, n_columns)
        self._total = sparse.csr_matrix(self._shape, dtype=np.int32)
        self._pending: list[tuple[Array, Array]] = []
        self._n_pending = 0

    def add(self, rows: Array, columns: Array) -> None:
        """Count each pair once more."""
        self._pending.append((rows.astype(np.int32), columns.astype(np.int32)))
        self._n_pending += len(rows)
        # In proportion to the total, so that merging costs each pair the same however many come.
        if self._n_pending > max(PENDING_PAIRS, self._total.nnz // 2):
            self._merge()

    def matrix(self) -> sparse.csr_matrix:
        """Return the counts, int32, columns sorted within rows."""
        self._merge()
        return self._total

    def _merge(self) -> None:
        if self._n_pending:
            rows, columns = (np.concatenate(part) for part in zip(*self._pending, strict=True))
            self._pending, self._n_pending = [], 0
            ones = np.ones(len(rows), dtype=np.int32)
            self._total = self._total + sparse.csr_matrix((ones, (rows, columns)), self._shape)
            self._total.sum_duplicates()


def region_names(regions: pd.DataFrame) -> pd.Index:
    """Return labels `chrom:start-end` (0-based, half-open)."""
    start, end = regions["start"].astype(str), regions["end"].astype(str)
    return pd.Index(regions["chrom"].astype(str) + ":" + start + "-" + end, dtype=object)


def regions_as_var(regions: pd.DataFrame) -> pd.DataFrame:
    """Return the peak columns of an AnnData's var, labelled by region."""
    columns = {
        "chrom": regions["chrom"].astype(str).to_numpy(dtype=object),
        "start": regions["start"].to_numpy(dtype=np.int64),
        "end": regions["end"].to_numpy(dtype=np.int64),
    }
    return pd.DataFrame(columns, index=region_names(regions).rename(None))


def read_bed(path: Path | str) -> pd.DataFrame:
    """Return the regions of a BED file (gzipped or not) in its order: chrom, start, end, name.

    0-based, half-open. Comment, `track` and `browser` lines are skipped; the name is empty where
    the file has no fourth column.
    """
    try:
        with open_bytes(path) as handle:
            text = handle.read().decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        message = f"{path} cannot be read as BED ({error}). Fetch or remake it."
        raise DataError(message) from error
    lines = [line for line in text.splitlines() if not NO_REGION.match(line)]
    parts = [(*line.split("\t", 4), "", "", "", "")[:4] for line in lines]
    table = pd.DataFrame(parts, columns=["chrom", "start", "end", "name"], dtype=object)
    start = pd.to_numeric(table["start"], errors="coerce")
    end = pd.to_numeric(table["end"], errors="coerce")
    right = (start >= 0) & (end > start) & (end <= LARGEST) & (start % 1 == 0) & (end % 1 == 0)
    wrong = ~right.to_numpy(dtype=bool)
    if wrong.any():
        message = (
            f"{path}: {wrong.sum():,} of {len(lines):,} lines are not regions with"
            f" 0 <= start < end <= {LARGEST:,} (first: {lines[int(wrong.argmax())][:80]!r})."
            " Expected chrom, start, end separated by tabs: mend or remove these lines."
        )
        raise DataError(message)
    return table.assign(start=start.astype(np.int64), end=end.astype(np.int64))
