"""Fragments by group of barcodes, for peak calls on each."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from epifoundation.contracts import CLUSTERS
from epifoundation.data.fragment_reader import FragmentChunk, read_fragments
from epifoundation.data.pool import (
    FragmentTally,
    Pool,
    check_files,
    check_names,
    room_in,
    temporary_folder,
)
from epifoundation.data.regions import Array
from epifoundation.data.starts import StartCounts, bed_lines
from epifoundation.errors import DataError

logger = logging.getLogger(__name__)


def cluster_groups(paths: Sequence[Path | str], samples: Sequence[str]) -> list[dict[str, str]]:
    """Return for each sample, by its CLUSTERS table, barcode to group `<sample>#<cluster>`."""
    groups = []
    for path, sample in zip(paths, samples, strict=True):
        table = CLUSTERS.read(path)
        barcode = table["barcode"].str.removeprefix(f"{sample}#")
        groups.append(dict(zip(barcode, f"{sample}#" + table["cluster"], strict=True)))
    return groups


def read_groups(path: Path | str) -> dict[str, str]:
    """Return barcode to group of a table of these two columns; a header that says so is skipped."""
    try:
        table = pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:
        table = pd.DataFrame()
    if table.shape[1] != 2 or (table == "").any(axis=None):
        message = f"{path}: expected lines of barcode, tab, group; the first is {_first(path)!r}"
        raise DataError(message)
    if table.iloc[0].tolist() == ["barcode", "group"]:
        table = table.iloc[1:]
    repeated = table[0][table[0].duplicated()]
    if len(repeated):
        message = f"{path}: {len(repeated):,} barcodes are listed twice (first: {repeated.iloc[0]})"
        raise DataError(message)
    return dict(zip(table[0], table[1], strict=True))


@contextmanager
def grouped_fragments(
    fragments: Sequence[Path | str],
    groups: Sequence[Mapping[str, str]],
    *,
    cap: int | None,
    standard_chromosomes: Sequence[str],
    chrom_sizes: Mapping[str, int] | None = None,
) -> Iterator[dict[str, Callable[[], Pool]]]:
    """Yield for each group, in order of the names, what returns the pool of its fragments.

    `groups` has one mapping a file, from barcode to group; groups of the same name in several files
    are pooled in the order of the files, as Signac's SplitFragments does. Fragments are put by
    group into a temporary folder first, 8 bytes each, so that only groups at work are in memory.
    Only without a cap do pools have files: BED, in that folder.
    """
    check_files(fragments)
    if len(groups) != len(fragments):
        message = f"{len(groups)} tables of groups were given for {len(fragments)} fragment files"
        raise DataError(message)
    names = sorted({name for by_barcode in groups for name in by_barcode.values()})
    with temporary_folder("groups-") as folder:
        spilled = {name: _GroupFile(folder / f"{i}.bin") for i, name in enumerate(names)}
        code_of: dict[str, int] = {}
        for path, by_barcode in zip(fragments, groups, strict=True):
            counted = _split(path, by_barcode, spilled, code_of, chrom_sizes)
            check_names(path, counted, standard_chromosomes)
        for name in names:
            if spilled[name].seen.n_fragments == 0:
                logger.warning("group %s: none of its barcodes has a fragment", name)
                del spilled[name]
        chromosomes = list(code_of)
        yield {name: partial(spill.pool, chromosomes, cap) for name, spill in spilled.items()}


class _GroupFile:
    """The fragments of one group on disk: chromosome code and start, int32 each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen = FragmentTally()

    def add(self, chunk: FragmentChunk, code: Array) -> None:
        """Append fragments; `code` translates the chunk's own chromosome codes."""
        self.seen.add(chunk)
        with room_in(self.path.parent), self.path.open("ab") as handle:
            np.column_stack([code[chunk.chromosome], chunk.start]).astype(np.int32).tofile(handle)

    def pool(self, chromosomes: Sequence[str], cap: int | None) -> Pool:
        """Return the fragments as a pool; `chromosomes` have the codes."""
        starts = StartCounts(cap or 1)
        rows = np.memmap(self.path, dtype=np.int32, mode="r").reshape(-1, 2)
        bed = self.path.with_suffix(".bed")
        with room_in(bed.parent), bed.open("wb") as handle:
            for i in range(0, len(rows), 2**20):
                code, start = np.ascontiguousarray(rows[i : i + 2**20].T)
                for present in np.unique(code):
                    of_one = start[code == present]
                    starts.add(chromosomes[present], of_one)
                    if cap is None:
                        handle.write(bed_lines(chromosomes[present], of_one).data)
        self.path.unlink()
        files = () if cap else (str(bed),)
        return Pool(starts, self.seen.n_fragments, self.seen.tag_size, files)


def _split(
    path: Path | str,
    by_barcode: Mapping[str, str],
    spilled: Mapping[str, _GroupFile],
    code_of: dict[str, int],
    chrom_sizes: Mapping[str, int] | None,
) -> dict[str, int]:
    """Append the file's fragments to the spill of their group; return all by chromosome."""
    if not by_barcode:
        message = f"{path}: its table of groups holds no barcode. Leave both out."
        raise DataError(message)
    barcodes = list(by_barcode)
    names = sorted(set(by_barcode.values()))
    place = {name: i for i, name in enumerate(names)}
    group_of = np.array([place[by_barcode[barcode]] for barcode in barcodes])
    has_fragments = np.zeros(len(barcodes), dtype=bool)
    seen = FragmentTally()
    for chunk in read_fragments(path, barcodes, chromosome_sizes=chrom_sizes):
        seen.add(chunk)
        known = chunk.of_known_barcodes()
        has_fragments[known.barcode] = True
        code = np.array([code_of.setdefault(x, len(code_of)) for x in chunk.chromosomes])
        group = group_of[known.barcode]
        order = np.argsort(group, kind="stable")
        bounds = np.searchsorted(group[order], np.arange(len(names) + 1))
        for i in np.flatnonzero(np.diff(bounds)):
            spilled[names[i]].add(known.select(order[bounds[i] : bounds[i + 1]]), code)
    if not has_fragments.all():
        absent = barcodes[int(np.flatnonzero(~has_fragments)[0])]
        logger.warning(
            "%s: %d of %d grouped barcodes have no fragment (first: %s)",
            *(path, int((~has_fragments).sum()), len(barcodes), absent),
        )
    return seen.counted


def _first(path: Path | str) -> str:
    with Path(path).open(errors="replace") as handle:
        return handle.readline()[:80].rstrip("\n")
