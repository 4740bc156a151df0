"""Few windows against many fragments: which fragments touch which window."""

import numpy as np
import pandas as pd

from epifoundation.data.regions import Array


class WindowIndex:
    """Finds the fragments that touch windows such as TSSs or blacklisted regions.

    `windows` has `chrom`, `start`, `end` (0-based, half-open; a start may be negative), in any
    order; they may overlap. Windows are looked up among the fragments, not the other way round:
    thousands of searches for a million fragments.
    """

    def __init__(self, windows: pd.DataFrame) -> None:
        self._by_chromosome: dict[str, tuple[Array, Array, Array]] = {}
        chromosome = windows["chrom"].to_numpy(dtype=object)
        start = windows["start"].to_numpy(dtype=np.int64)
        end = windows["end"].to_numpy(dtype=np.int64)
        for name in pd.unique(chromosome):
            rows = np.flatnonzero(chromosome == name)
            rows = rows[np.argsort(start[rows], kind="stable")]
            self._by_chromosome[str(name)] = (rows, start[rows], end[rows])

    def touching(self, chromosome: str, start: Array, end: Array) -> tuple[Array, Array]:
        """Return (fragment, window) positions of every pair that shares at least one base.

        Quick for fragments sorted by start; others are sorted first.
        """
        nothing = np.empty(0, dtype=np.int64)
        if chromosome not in self._by_chromosome or not len(start):
            return nothing, nothing
        order = None
        if (start[1:] < start[:-1]).any():
            order = np.argsort(start, kind="stable")
            start, end = start[order], end[order]
        rows, window_start, window_end = self._by_chromosome[chromosome]
        furthest = np.maximum.accumulate(end)
        # From the first fragment that may reach the window to the last that starts before its end.
        first = np.searchsorted(furthest, _as_type_of(end, window_start), side="right")
        stop = np.searchsorted(start, _as_type_of(start, window_end), side="left")
        hit = np.flatnonzero(stop > first)
        n_candidates = (stop - first)[hit]
        before = np.cumsum(n_candidates) - n_candidates
        fragment = np.arange(n_candidates.sum()) + np.repeat(first[hit] - before, n_candidates)
        window = np.repeat(hit, n_candidates)
        touching = end[fragment] > window_start[window]
        fragment, window = fragment[touching], rows[window[touching]]
        return (fragment if order is None else order[fragment]), window


def _as_type_of(positions: Array, values: Array) -> Array:
    """Return the values in the positions' type, which searches fast; what is beyond, at its end."""
    limits = np.iinfo(positions.dtype)
    return values.clip(limits.min, limits.max).astype(positions.dtype)
