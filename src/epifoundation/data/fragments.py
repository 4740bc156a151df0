"""Fragment files: read in chunks of integers, counted in regions as Signac's FeatureMatrix does."""

import gzip
import logging
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import anndata as ad
import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv
from scipy import sparse

from epifoundation.data.gzipped import open_bytes
from epifoundation.data.regions import Array, PairCounts, RegionIndex, regions_as_var
from epifoundation.errors import DataError
from epifoundation.files import with_progress

logger = logging.getLogger(__name__)

CHUNK_BYTES = 32 * 2**20
COLUMNS = ("chrom", "start", "end", "barcode")


@dataclass(frozen=True)
class FragmentChunk:
    """Consecutive fragments of a file.

    `chromosome` holds codes into `chromosomes`; `start`, `end` are 0-based, half-open; `barcode`
    holds positions in the list of barcodes asked for, -1 for any other. `first_line` is the number
    of fragments before this chunk.
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
        return self.select(self.barcode >= 0)

    def select(self, kept: Array) -> "FragmentChunk":
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
        present = np.unique(self.chromosome)
        for code in present:
            part = self if len(present) == 1 else self.select(self.chromosome == code)
            yield self.chromosomes[code], part


def read_fragments(path: Path | str, barcodes: Sequence[str] = ()) -> Iterator[FragmentChunk]:
    """Yield the fragments of a file in its order, in chunks of about a million.

    The file is tab-separated (chrom, start, end, barcode, and any more), gzipped, bgzipped or
    plain; sorted or not; lines that start with `#` are skipped. Raises DataError for a file that is
    empty, cut off, or holds something else.
    """
    wanted = pd.Index(np.array(barcodes, dtype=object))
    if not wanted.is_unique:
        repeated = wanted[wanted.duplicated()]
        message = f"{len(repeated)} barcodes are listed twice (first: {repeated[0]})"
        raise DataError(message)
    codes: dict[str, int] = {}
    n_before, n_matched, example = 0, 0, ""
    for table in _with_progress(_tables(Path(path)), path):
        chunk = _chunk(table, wanted, codes, n_before)
        _check_intervals(chunk, path)
        n_before += len(chunk)
        n_matched += int((chunk.barcode >= 0).sum())
        example = example or table["barcode"][0].as_py()
        yield chunk
    if n_before == 0:
        message = f"{path} holds no fragment. Remake it, or check the download."
        raise DataError(message)
    if len(wanted) and n_matched == 0:
        message = (
            f"{path}: none of the {len(wanted):,} barcodes asked for is in its {n_before:,}"
            f" fragments (asked for {wanted[0]}, the file has {example}). Are the barcodes of the"
            " same sample, translated to GEX and with the same suffix?"
        )
        raise DataError(message)


def count_fragments_in_peaks(
    fragments: Path | str, peaks: pd.DataFrame, barcodes: Sequence[str], *, keep_absent: bool
) -> ad.AnnData:
    """Return integer counts of barcodes × peaks (Signac's FeatureMatrix), both in the given order.

    An entry counts the lines of the barcode that share at least one base with the peak; a fragment
    over two peaks counts in each; the duplicate count in column five is not used. `peaks` has
    `chrom`, `start`, `end`, 0-based, half-open, and may overlap. Peaks on chromosomes without
    fragments are dropped, as FeatureMatrix does, unless `keep_absent`.
    """
    counter = RegionCounter(peaks, n_barcodes=len(barcodes))
    for chunk in read_fragments(fragments, barcodes):
        counter.add(chunk)
    return counter.named(fragments, barcodes, regions_as_var(peaks), keep_absent=keep_absent)


class RegionCounter:
    """Counts, chunk by chunk, the fragments of each barcode that overlap each region."""

    def __init__(self, regions: pd.DataFrame, *, n_barcodes: int) -> None:
        self.regions = regions
        self._index = RegionIndex(regions)
        self._pairs = PairCounts(n_barcodes, len(regions))
        self._seen: set[str] = set()

    def add(self, chunk: FragmentChunk) -> None:
        """Count one chunk."""
        self._seen.update(chunk.chromosomes)
        for chromosome, part in chunk.of_known_barcodes().by_chromosome():
            fragment, region = self._index.overlaps(chromosome, part.start, part.end)
            self._pairs.add(part.barcode[fragment], region)

    def matrix(self) -> sparse.csr_matrix:
        """Return the counts so far, barcodes × regions, int32."""
        return self._pairs.matrix()

    def named(
        self,
        where: Path | str,
        barcodes: Sequence[str],
        var: pd.DataFrame,
        *,
        keep_absent: bool,
    ) -> ad.AnnData:
        """Return the counts under the names of `barcodes` and of `var`, one row a region.

        Regions on chromosomes never seen in the file `where` go unless `keep_absent`; if that is
        all of them, DataError.
        """
        present = self.regions["chrom"].isin(self._seen).to_numpy()
        if not present.any():
            message = (
                f"{where}: none of the {len(present):,} regions is on a chromosome of the fragments"
                f" (regions on {self.regions['chrom'].iloc[0]}, fragments on"
                f" {min(self._seen)}). Are both of the same genome, named alike?"
            )
            raise DataError(message)
        if not present.all():
            absent = self.regions["chrom"][~present]
            logger.info(
                "%s: %d of %d regions are on chromosomes without fragments (first: %s), %s",
                *(where, len(absent), len(present), absent.iloc[0]),
                "kept" if keep_absent else "dropped",
            )
        matrix = self.matrix()
        kept = np.ones_like(present) if keep_absent else present
        n_empty = int((np.diff(matrix.indptr) == 0).sum())
        logger.info(
            "%s: %d barcodes × %d regions, %d counts, %d barcodes without any",
            *(where, len(barcodes), kept.sum(), matrix.sum(), n_empty),
        )
        obs = pd.DataFrame(index=pd.Index(list(barcodes), dtype=object))
        return ad.AnnData(X=matrix if kept.all() else matrix[:, kept], obs=obs, var=var[kept])


def _with_progress(tables: Iterator[pa.Table], path: Path | str) -> Iterator[pa.Table]:
    what = f"{Path(path).name}: chunks of {CHUNK_BYTES // 2**20} MiB"
    return with_progress(tables, what, logger=logger)


def _chunk(
    table: pa.Table, wanted: pd.Index, codes: dict[str, int], n_before: int
) -> FragmentChunk:
    """Translate a chunk's own dictionaries into `codes` (extended) and positions in `wanted`."""
    chromosome = table["chrom"].combine_chunks()
    for name in chromosome.dictionary.to_pylist():
        codes.setdefault(name, len(codes))
    names = chromosome.dictionary.to_pylist()
    to_code = np.array([codes[name] for name in names], dtype=np.int32)
    barcode = table["barcode"].combine_chunks()
    to_position = wanted.get_indexer(barcode.dictionary.to_pandas()).astype(np.int32)
    return FragmentChunk(
        first_line=n_before,
        chromosomes=tuple(codes),
        chromosome=to_code[chromosome.indices.to_numpy()],
        start=table["start"].to_numpy(),
        end=table["end"].to_numpy(),
        barcode=to_position[barcode.indices.to_numpy()],
    )


def _check_intervals(chunk: FragmentChunk, path: Path | str) -> None:
    wrong = (chunk.start >= chunk.end) | (chunk.start < 0)
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        where = f"{chunk.chromosomes[chunk.chromosome[i]]}:{chunk.start[i]}-{chunk.end[i]}"
        message = (
            f"{path}: {int(wrong.sum()):,} of {len(chunk):,} fragments from fragment"
            f" {chunk.first_line + 1:,} on do not start before they end (first: {where}, fragment"
            f" {chunk.first_line + i + 1:,}). The file is damaged or not 0-based, half-open."
        )
        raise DataError(message)


def _tables(path: Path) -> Iterator[pa.Table]:
    """Yield whole lines of the file as tables of COLUMNS, dictionaries not shared."""
    rest, n_columns, n_read = b"", 0, 0
    with open_bytes(path) as handle:
        while True:
            block = _read(handle, path)
            lines, rest = _whole_lines(rest + block, last=not block)
            if lines:
                n_columns = n_columns or _count_columns(lines, path)
                table = _parse(lines, n_columns, path, n_read)
                n_read += table.num_rows
                yield table
            if not block:
                return


def _read(handle: BinaryIO, path: Path) -> bytes:
    try:
        return handle.read(CHUNK_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        message = f"{path} is cut off or damaged ({error}). Fetch or remake it."
        raise DataError(message) from error


def _whole_lines(text: bytes, *, last: bool) -> tuple[bytes, bytes]:
    """Split off the unfinished last line; drop comment lines."""
    cut = len(text) if last else text.rfind(b"\n") + 1
    lines, rest = text[:cut], text[cut:]
    if lines.startswith(b"#") or b"\n#" in lines:
        lines = re.sub(rb"(?m)^#.*\n?", b"", lines)
    return lines, rest


def _count_columns(lines: bytes, path: Path) -> int:
    first = lines.split(b"\n", 1)[0].rstrip(b"\r").split(b"\t")
    if len(first) < len(COLUMNS) or not (first[1].isdigit() and first[2].isdigit()):
        shown = b"\\t".join(first)[:80].decode(errors="replace")
        message = (
            f"{path} is not a fragments file: expected chrom, start, end, barcode separated by"
            f" tabs, its first line is {shown!r}"
        )
        raise DataError(message)
    return len(first)


def _parse(lines: bytes, n_columns: int, path: Path, n_before: int) -> pa.Table:
    names = [*COLUMNS, *(f"column_{i}" for i in range(len(COLUMNS), n_columns))]
    text = pa.dictionary(pa.int32(), pa.string())
    types = {"chrom": text, "start": pa.int32(), "end": pa.int32(), "barcode": text}
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(lines),
            read_options=arrow_csv.ReadOptions(column_names=names, block_size=len(lines) + 1),
            parse_options=arrow_csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=list(COLUMNS), column_types=types, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        message = f"{path}: a line after fragment {n_before:,} is not a fragment ({error})"
        raise DataError(message) from error
    return table
