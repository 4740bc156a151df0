"""Where fragments start: a set of positions in one bit a base, or counts in one byte a base."""

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epifoundation.data.compiled import compiled

BLOCK = 2**22  # bases looked at together
LARGEST_COUNT = 255
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS

Bytes = NDArray[np.uint8]
Positions = NDArray[np.int32]


class StartCounts:
    """How many fragments start at each base, counted up to `cap` (at most 255).

    A cap of 1 takes one bit a base of the span of each chromosome, any other one byte; pages of
    memory that no fragment touches are never taken. The order of `add` calls does not matter.
    """

    def __init__(self, cap: int) -> None:
        assert 1 <= cap <= LARGEST_COUNT
        self.cap = cap
        self._shift = 3 if cap == 1 else 0
        self._cells: dict[str, Bytes] = {}

    def add(self, chromosome: str, start: Positions) -> None:
        """Count fragments that start at these positions (0-based, in any order)."""
        if not len(start):
            return
        needed = (int(start.max()) >> self._shift) + 1
        cells = self._cells.get(chromosome, np.empty(0, dtype=np.uint8))
        if needed > len(cells):
            grown = _untouched(max(needed, 2 * len(cells)))
            grown[: len(cells)] = cells
            self._cells[chromosome] = cells = grown
        if self._shift:
            _mark(cells, start)
        else:
            _count(cells, start, self.cap)

    @contextmanager
    def set_aside(self, folder: Path) -> Iterator[None]:
        """Keep the counts in files of `folder` for the block, to leave their memory to others."""
        paths = {name: folder / f"{i}.npy" for i, name in enumerate(self._cells)}
        for name, path in paths.items():
            np.save(path, self._cells[name][: (self.last(name) >> self._shift) + 1])
        self._cells.clear()
        _give_back_memory()
        yield
        for name, path in paths.items():
            self._cells[name] = np.load(path)
            path.unlink()

    @property
    def chromosomes(self) -> list[str]:
        """Return the names of chromosomes with fragments, sorted."""
        return sorted(self._cells)

    def n_positions(self, chromosome: str) -> int:
        """Return at how many bases of the chromosome a fragment starts."""
        cells = self._cells.get(chromosome, np.empty(0, dtype=np.uint8))
        return sum(
            int(np.bitwise_count(part).sum() if self._shift else np.count_nonzero(part))
            for part in (cells[i : i + BLOCK] for i in range(0, len(cells), BLOCK))
        )

    def n_kept(self, cap: int) -> int:
        """Return the number of fragments if at most `cap` are kept at a position."""
        if self._shift:
            return sum(map(self.n_positions, self.chromosomes))
        return sum(
            int(np.minimum(cells[i : i + BLOCK], cap).sum(dtype=np.int64))
            for cells in self._cells.values()
            for i in range(0, len(cells), BLOCK)
        )

    def last(self, chromosome: str) -> int:
        """Return the last base of the chromosome at which a fragment starts, -1 without any."""
        cells = self._cells.get(chromosome, np.empty(0, dtype=np.uint8))
        for i in range((len(cells) - 1) // BLOCK * BLOCK, -1, -BLOCK):
            filled = np.flatnonzero(cells[i : i + BLOCK])
            if len(filled):
                at = i + int(filled[-1])
                return (at << 3) + int(cells[at]).bit_length() - 1 if self._shift else at
        return -1

    def positions(self, chromosome: str, cap: int) -> Iterator[Positions]:
        """Yield the sorted positions, each as often as it was seen but at most `cap` times."""
        cells = self._cells[chromosome]
        step = BLOCK >> self._shift
        for i in range(0, len(cells), step):
            block = cells[i : i + step]
            if not block.any():
                continue
            if self._shift:
                found = np.empty(int(np.bitwise_count(block).sum()), dtype=np.int32)
                _list_bits(block, i << 3, found)
                yield found
            else:
                filled = np.flatnonzero(block)
                yield np.repeat(filled + i, np.minimum(block[filled], cap)).astype(np.int32)

    def n_positions_in(self, regions: pd.DataFrame) -> int:
        """Return at how many bases of disjoint regions (0-based, half-open) a fragment starts."""
        total = 0
        for chromosome, part in regions.groupby("chrom", sort=False):
            cells = self._cells.get(str(chromosome), np.empty(0, dtype=np.uint8))
            start, end = (part[name].to_numpy(dtype=np.int64) for name in ("start", "end"))
            total += _filled(cells, start, end, self._shift)
        return total


def _untouched(n_bytes: int) -> Bytes:
    """Return zeros in pages of their own, which take no memory until they are written.

    `np.zeros` may reuse freed memory, all of which it then has to clear.
    """
    return np.frombuffer(mmap.mmap(-1, n_bytes, flags=PRIVATE), dtype=np.uint8)


def _give_back_memory() -> None:
    """Let go of freed memory that glibc keeps for later, where the C library is glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def bed_lines(chromosome: str, start: Positions) -> Bytes:
    """Return lines of BED: chromosome, start, start + 1."""
    name = np.frombuffer(f"{chromosome}\t".encode(), dtype=np.uint8)
    longest = len(name) + 2 * len(str(np.iinfo(np.int32).max)) + 2
    lines = np.empty(len(start) * longest, dtype=np.uint8)
    return lines[: _write_lines(name, start, lines)]


@compiled
def _write_lines(name: Bytes, start: Positions, lines: Bytes) -> int:
    at = 0
    for i in range(len(start)):
        lines[at : at + len(name)] = name
        at = _write_number(start[i], lines, at + len(name))
        lines[at] = 9  # tab
        at = _write_number(start[i] + 1, lines, at + 1)
        lines[at] = 10  # newline
        at += 1
    return at


@compiled
def _write_number(number: int, lines: Bytes, at: int) -> int:
    n_digits = 1
    bound = 10
    while number >= bound:
        n_digits += 1
        bound *= 10
    for place in range(at + n_digits - 1, at - 1, -1):
        lines[place] = 48 + number % 10
        number //= 10
    return at + n_digits


@compiled
def _mark(bits: Bytes, start: Positions) -> None:
    for i in range(len(start)):
        bits[start[i] >> 3] |= np.uint8(1 << (start[i] & 7))


@compiled
def _list_bits(bits: Bytes, first: int, positions: Positions) -> None:
    n = 0
    for i in range(len(bits)):
        if bits[i] == 0:
            continue
        for bit in range(8):
            if (bits[i] >> bit) & 1:
                positions[n] = first + (i << 3) + bit
                n += 1


@compiled
def _count(counts: Bytes, start: Positions, cap: int) -> None:
    for i in range(len(start)):
        if counts[start[i]] < cap:
            counts[start[i]] += np.uint8(1)


@compiled
def _filled(cells: Bytes, start: NDArray[np.int64], end: NDArray[np.int64], shift: int) -> int:
    n_bases = len(cells) << shift
    total = 0
    for i in range(len(start)):
        for base in range(start[i], min(end[i], n_bases)):
            if shift == 0:
                total += cells[base] > 0
            else:
                total += (cells[base >> 3] >> (base & 7)) & 1
    return total
