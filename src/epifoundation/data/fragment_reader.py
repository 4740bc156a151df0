"""Fragment files, read in chunks of integers."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from epifoundation.data.fragment_checks import (
    WithinChromosomes,
    bad_lines,
    barcodes_missing,
    check_barcodes,
    check_index,
    check_intervals,
    count_fields,
    distinct_files,
)
from epifoundation.data.fragment_lines import ParsedLines, name_table, parse_lines
from epifoundation.data.gzipped import text_blocks
from epifoundation.data.regions import Array
from epifoundation.errors import DataError
from epifoundation.files import with_progress

logger = logging.getLogger(__name__)

CHUNK_BYTES = 8 * 2**20
FEW_CHROMOSOMES = 16  # first seen in one chunk; more, as of scaffolds, are looked for together
NAME = re.compile(rb"^[^#\t\r\n][^\t\r\n]*(?=\t)", re.MULTILINE)

Fragments = Path | str | Sequence[Path | str]


@dataclass(frozen=True)
class FragmentChunk:
    """Consecutive fragments of a file.

    `chromosome` holds codes into `chromosomes`; `start`, `end` are 0-based, half-open; `barcode`
    holds positions in the list of barcodes asked for, -1 for any other. `first_line` is the number
    of fragments before this chunk, over all files read.
    """

    first_line: int
    chromosomes: tuple[str, ...]
    chromosome: Array
    start: Array
    end: Array
    barcode: Array

    def __len__(self) -> int:
        return len(self.start)

    def of_known_barcodes(self) -> "FragmentChunk":
        """Return the fragments whose barcode was asked for."""
        return self._known

    def select(self, kept: Array | slice) -> "FragmentChunk":
        """Return the fragments where `kept` is true (or at the positions it holds)."""
        return FragmentChunk(
            self.first_line,
            self.chromosomes,
            self.chromosome[kept],
            self.start[kept],
            self.end[kept],
            self.barcode[kept],
        )

    def by_chromosome(self) -> Iterator[tuple[str, "FragmentChunk"]]:
        """Yield each chromosome's name and fragments, in order of its code."""
        yield from self._parts

    # Both are kept, since several counters ask each chunk for them.
    @cached_property
    def _known(self) -> "FragmentChunk":
        return self.select(np.flatnonzero(self.barcode >= 0))

    @cached_property
    def _parts(self) -> list[tuple[str, "FragmentChunk"]]:
        codes = self.chromosome
        if (codes[1:] < codes[:-1]).any():
            narrow = codes.astype(np.min_scalar_type(len(self.chromosomes)))  # sorted by radix
            return self.select(np.argsort(narrow, kind="stable"))._parts
        begins = np.flatnonzero(np.diff(codes, prepend=-1))
        slices = map(slice, begins, [*begins[1:], len(codes)])
        return [(self.chromosomes[codes[part.start]], self.select(part)) for part in slices]


def read_fragments(
    fragments: Fragments,
    barcodes: Sequence[str] = (),
    *,
    threads: int = 1,
    chromosome_sizes: Mapping[str, int] | None = None,
) -> Iterator[FragmentChunk]:
    """Yield the fragments of one or many files in their order, in chunks of some 180,000.

    Many files are one pool of fragments of the same barcodes, as if concatenated. A file is
    tab-separated (chrom, start, end, barcode, and any more), gzipped, bgzipped or plain; sorted or
    not; lines that start with `#` are skipped; no index is needed. With more than one of `threads`,
    others decompress ahead. Raises DataError for a file that is empty, cut off, given twice, or
    holds something else; with `chromosome_sizes` also where a fragment starts beyond its end.
    """
    reader = _Reader(barcodes, chromosome_sizes)
    paths = distinct_files(fragments)
    for path in paths:
        yield from reader.chunks(path, threads)
    reader.report(names_of(paths))


def names_of(fragments: Fragments) -> str:
    """Return the files as messages name them: the first, and how many more."""
    if isinstance(fragments, str | Path):
        return str(fragments)
    more = f" and {len(fragments) - 1} more" if len(fragments) > 1 else ""
    return f"{fragments[0]}{more}"


class _Reader:
    """What is known over all files: chromosomes so far, and which barcodes were found."""

    def __init__(self, barcodes: Sequence[str], sizes: Mapping[str, int] | None) -> None:
        check_barcodes(barcodes)
        self._barcodes = list(barcodes)
        self._barcode_table = name_table(barcodes)
        self._found = np.zeros(len(barcodes) + 1, dtype=bool)  # the last stands for all others
        self._chromosomes: tuple[str, ...] = ()
        self._chromosome_table = name_table(())
        self._within = None if sizes is None else WithinChromosomes(sizes)
        self._n_read = 0
        self._example = ""

    def chunks(self, path: Path, threads: int) -> Iterator[FragmentChunk]:
        """Yield the fragments of one file."""
        n_before, n_lines, n_fields = self._n_read, 0, 0
        n_of_chromosome = np.zeros(0, dtype=np.int64)
        found = np.zeros_like(self._found)
        what = f"{path.name}: chunks of {CHUNK_BYTES // 2**20} MiB"
        blocks = _whole_lines(text_blocks(path, CHUNK_BYTES, threads=threads))
        for block in with_progress(blocks, what, logger=logger):
            n_fields = n_fields or self._first_fields(block, path)
            chunk, n_more = self._chunk(block, n_fields, path, n_lines)
            n_lines += n_more
            if len(chunk):
                found[chunk.barcode] = True
                self._n_read += len(chunk)
                n = np.bincount(chunk.chromosome, minlength=len(n_of_chromosome))
                n[: len(n_of_chromosome)] += n_of_chromosome
                n_of_chromosome = n
                yield chunk
        if self._n_read == n_before:
            message = f"{path} holds no fragment. Remake it, or check the download."
            raise DataError(message)
        self._found |= found
        if self._barcodes and not found[:-1].any():
            logger.warning(
                barcodes_missing(path, self._barcodes, self._n_read - n_before, self._example)
            )
        check_index(path, [self._chromosomes[code] for code in np.flatnonzero(n_of_chromosome)])

    def report(self, where: str) -> None:
        """Say which barcodes were not found; DataError if that is every one."""
        absent = np.flatnonzero(~self._found[:-1])
        if len(absent) and len(absent) == len(self._barcodes):
            message = barcodes_missing(where, self._barcodes, self._n_read, self._example)
            raise DataError(message)
        if len(absent):
            logger.warning(
                "%s: %s of %s barcodes have no fragment (first: %s): their counts are zero",
                *(where, f"{len(absent):,}", f"{len(self._barcodes):,}"),
                self._barcodes[absent[0]],
            )
        if self._within is not None:
            self._within.report(where)

    def _first_fields(self, block: bytes, path: Path) -> int:
        found = re.search(rb"^[^#\s].*$", block, re.MULTILINE)
        if found is None:
            return 0
        line = found[0]
        n_fields = count_fields(line, path)
        self._example = line.split(b"\t")[3].decode(errors="backslashreplace")
        return n_fields

    def _chunk(
        self, block: bytes, n_fields: int, path: Path, n_lines: int
    ) -> tuple[FragmentChunk, int]:
        """Return the fragments of whole lines and the number of lines, `n_lines` before them."""
        text = np.frombuffer(block, dtype=np.uint8)
        parts: list[ParsedLines] = []
        begin = n_more = 0
        while begin < len(text):
            tables = self._chromosome_table, self._barcode_table
            part = parse_lines(text, begin, n_fields, *tables)
            parts.append(part)
            assert part.end_byte > begin or part.unknown not in (None, *self._chromosomes)
            begin = part.end_byte
            if part.unknown is not None:
                many = len(parts) > FEW_CHROMOSOMES
                names = _first_columns(block, begin) if many else (part.unknown,)
                self._chromosomes = tuple(dict.fromkeys((*self._chromosomes, *names)))
                self._chromosome_table = name_table(self._chromosomes)
            n_more += part.n_lines
        n_bad = sum(part.n_bad for part in parts)
        if n_bad:
            first = next(part.first_bad for part in parts if part.n_bad)
            line_number = n_lines + block.count(b"\n", 0, first) + 1
            raise bad_lines(path, block[first : first + 200], n_bad, line_number)
        columns = ("chromosome", "start", "end", "barcode")
        joined = [_joined([getattr(part, name) for part in parts]) for name in columns]
        chunk = FragmentChunk(self._n_read, self._chromosomes, *joined)
        check_intervals(path, chunk.chromosomes, joined[:3], self._n_read)
        if self._within is not None:
            for name, part_of_one in chunk.by_chromosome():
                self._within.add(path, name, part_of_one.start, part_of_one.end)
        return chunk, n_more


def _first_columns(block: bytes, begin: int) -> list[str]:
    """Return the distinct names in the first column from byte `begin` on, those that are text."""
    found = (name.decode(errors="ignore") for name in dict.fromkeys(NAME.findall(block, begin)))
    return [name for name in found if name]


def _joined(parts: Sequence[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the text cut at ends of lines; the last line need not have one."""
    rest = b""
    for block in blocks:
        cut = block.rfind(b"\n") + 1
        if cut:
            yield b"".join((rest, memoryview(block)[:cut]))
            rest = block[cut:]
        else:
            rest += block
    if rest:
        yield rest + b"\n"
