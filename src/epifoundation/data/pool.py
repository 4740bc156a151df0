"""The fragments of many files as the tags MACS2 reads, in memory bounded by the genome."""

import errno
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from threading import Lock

import numpy as np

from epifoundation.data.fragment_checks import distinct_files, naming_hint
from epifoundation.data.fragment_reader import FragmentChunk, read_fragments
from epifoundation.data.starts import StartCounts, bed_lines
from epifoundation.errors import DataError, DiskFullError
from epifoundation.files import FULL_BYTES

logger = logging.getLogger(__name__)

N_FIRST = 10  # MACS2 takes the tag size from the first ten lines of the first file
SCRATCH_BYTES = 75  # per tag, beside MACS2's input: its own files and the starts set aside


@dataclass(frozen=True)
class Pool:
    """Fragments of one peak call.

    `tag_size` is what MACS2 would take from the files: the mean length of the first ten fragments
    of the first file, rounded down. `files` hold the fragments themselves.
    """

    starts: StartCounts
    n_fragments: int
    tag_size: int
    files: tuple[str, ...]

    def write_tags(self, target: Path, *, cap: int) -> int:
        """Write the starts as BED lines of one base, each at most `cap` times; return how many."""
        n_tags = self.starts.n_kept(cap)
        _check_room(target.parent, n_tags, self._line_bytes())
        with room_in(target.parent), target.open("wb") as handle:
            for chromosome in self.starts.chromosomes:
                for start in self.starts.positions(chromosome, cap):
                    handle.write(bed_lines(chromosome, start).data)
        return n_tags

    def _line_bytes(self) -> int:
        names = self.starts.chromosomes
        return max(
            (len(f"{x}\t\t\n") + 2 * len(str(self.starts.last(x))) for x in names), default=0
        )


class FragmentTally:
    """What is told of fragments in passing: how many, where, how long the first ten are."""

    def __init__(self) -> None:
        self.counted: dict[str, int] = {}  # by chromosome
        self.sum_of_starts = 0
        self._lengths: list[int] = []

    def add(self, chunk: FragmentChunk) -> None:
        """Take the next fragments in."""
        first = slice(N_FIRST - len(self._lengths))
        self._lengths += (chunk.end[first] - chunk.start[first]).tolist()
        self.sum_of_starts += int(chunk.start.sum(dtype=np.int64))
        for name, part in chunk.by_chromosome():
            self.counted[name] = self.counted.get(name, 0) + len(part)

    @property
    def n_fragments(self) -> int:
        """Return how many there were."""
        return sum(self.counted.values())

    @property
    def tag_size(self) -> int:
        """Return the mean length of the first ten, rounded down."""
        return sum(self._lengths) // len(self._lengths)


def pool_fragments(
    fragments: Sequence[Path | str],
    *,
    cap: int | None,
    standard_chromosomes: Sequence[str],
    chrom_sizes: Mapping[str, int] | None = None,
    threads: int = 1,
) -> Pool:
    """Return the starts of all fragments of the files, counted up to `cap` at a position.

    Without a cap they are only marked: duplicates must then be read from the files.
    Files may be sorted differently or not at all, but the first lines of the first of them set the
    tag size. `threads` files are read at a time; the result does not depend on it. Refuses a file
    none of whose fragments is on a standard chromosome, or with fragments beyond the ends of
    chromosomes, where `chrom_sizes` tell them.
    """
    check_files(fragments)
    starts, lock = StartCounts(cap or 1), Lock()

    def read(path: Path | str) -> FragmentTally:
        seen = FragmentTally()
        for chunk in read_fragments(path, chromosome_sizes=chrom_sizes):
            seen.add(chunk)
            for chromosome, part in chunk.by_chromosome():
                with lock:
                    starts.add(chromosome, part.start)
        check_names(path, seen.counted, standard_chromosomes)
        return seen

    with ThreadPoolExecutor(max(1, min(threads, len(fragments)))) as executor:
        of_files = list(executor.map(read, fragments))
    _warn_of_copies(fragments, of_files)
    n_fragments = sum(seen.n_fragments for seen in of_files)
    logger.info("%d files: %d fragments", len(fragments), n_fragments)
    return Pool(starts, n_fragments, of_files[0].tag_size, tuple(map(str, fragments)))


def check_files(fragments: Sequence[Path | str]) -> None:
    """Refuse to pool nothing, or a file twice."""
    if not fragments:
        message = "there is no fragments file to call peaks on: no sample of the pool has fragments"
        raise DataError(message)
    distinct_files(fragments)


def check_names(path: Path | str, counted: Mapping[str, int], standard: Sequence[str]) -> None:
    """Refuse a file of another chromosome naming, warn of one mostly off the known names."""
    total = sum(counted.values())
    off = {name: n for name, n in counted.items() if name not in set(standard)}
    n_off = sum(off.values())
    if n_off * 2 <= total:
        return
    most = max(off, key=lambda name: off[name])
    what = (
        f"{path}: {n_off:,} of {total:,} fragments are on chromosomes that are not in"
        f" reference.standard_chromosomes (most on {most!r}, expected names like {standard[0]!r})"
    )
    hint = naming_hint(most, standard) or ". Add them there"
    if n_off < total:
        logger.warning("%s: no peak is kept there%s", what, hint)
        return
    message = f"{what}: it would add nothing to the peaks{hint}, or leave it out."
    raise DataError(message)


def _warn_of_copies(fragments: Sequence[Path | str], of_files: Sequence[FragmentTally]) -> None:
    for i, j in combinations(range(len(fragments)), 2):
        one, other = of_files[i], of_files[j]
        if one.sum_of_starts == other.sum_of_starts and one.counted == other.counted:
            logger.warning(
                "%s and %s hold the same fragments: is one sample in the pool twice?",
                *(fragments[i], fragments[j]),
            )


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Yield a folder under TMPDIR that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        yield Path(folder)


@contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """Say which temporary folder is full, where the block fails for want of space."""
    try:
        yield
    except OSError as error:
        # NumPy tells of a short write without a number.
        full = shutil.disk_usage(folder).free < FULL_BYTES
        if not full and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = f"{folder.parent} is full. Set TMPDIR to a folder with more room."
        raise DiskFullError(message) from error


def _check_room(folder: Path, n_tags: int, line_bytes: int) -> None:
    needed = n_tags * (line_bytes + SCRATCH_BYTES)
    free = shutil.disk_usage(folder).free
    if free < needed:
        message = (
            f"{folder.parent} has {free / 1e6:,.0f} MB free, peak calling on {n_tags:,} tags needs"
            f" about {needed / 1e6:,.0f} MB there. Set TMPDIR to a folder with more room."
        )
        raise DiskFullError(message)
