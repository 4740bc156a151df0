"""What is said of fragment files that cannot be used, or that are not what was meant."""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pysam

from epifoundation.errors import DataError
from epifoundation.files import file_hash

logger = logging.getLogger(__name__)

Array = npt.NDArray[Any]
SUFFIX = re.compile(r"-\d+$")  # of a barcode: its GEM well
COLUMNS = ("chrom", "start", "end", "barcode")
OTHER_KINDS = {  # by how their text begins
    b"BAM\x01": "a BAM file: make fragments of it first, e.g. by the workflow's open aligner",
    b"@HD\t": "a SAM file: make fragments of it first, e.g. by the workflow's open aligner",
    b"@SQ\t": "a SAM file: make fragments of it first, e.g. by the workflow's open aligner",
    b"\x89HDF": "an HDF5 file: matrices enter the workflow by entry `matrices`",
    b"%%MatrixMarket": "a matrix: matrices enter the workflow by entry `matrices`",
    b"TBI\x01": "a tabix index: name the file it belongs to",
    b"CSI\x01": "an index: name the file it belongs to",
    b"@": "perhaps FASTQ: align reads first",
}


def distinct_files(fragments: Path | str | Sequence[Path | str]) -> list[Path]:
    """Return the paths of one or many files; DataError if two are the same file or equal."""
    given = [fragments] if isinstance(fragments, str | Path) else fragments
    paths = [Path(path) for path in given]
    if not paths:
        message = "no fragments file is given: name at least one"
        raise DataError(message)
    there = [path for path in paths if path.is_file()]  # reading says what is missing
    for one, other in combinations(there, 2):
        same = one.samefile(other)
        if same or (
            one.stat().st_size == other.stat().st_size and file_hash(one) == file_hash(other)
        ):
            message = (
                f"{other} is given twice{'' if same else f' (it equals {one}, byte for byte)'}:"
                " each of its fragments would count double. Name each file once."
            )
            raise DataError(message)
    return paths


def check_barcodes(barcodes: Sequence[str]) -> None:
    """Raise DataError if a barcode is listed twice."""
    given = pd.Index(np.array(barcodes, dtype=object))
    if not given.is_unique:
        repeated = given[given.duplicated()]
        message = (
            f"{len(repeated):,} barcodes are listed twice (first: {repeated[0]}) among"
            f" {len(given):,}. List each once."
        )
        raise DataError(message)


def barcodes_missing(
    where: Path | str, barcodes: Sequence[str], n_fragments: int, example: str
) -> str:
    """Return what is said of fragments of which none has one of the barcodes."""
    asked, found = (SUFFIX.search(name) for name in (barcodes[0], example))
    advice = "Are the barcodes of the same sample, translated to GEX and with the same suffix?"
    if found and not asked:
        advice = f"The file's end in {found[0]}: add it to the list."
    elif asked and not found:
        advice = f"The file's have no {asked[0]} at the end: take it off the list."
    return (
        f"{where}: none of the {len(barcodes):,} barcodes asked for is in its {n_fragments:,}"
        f" fragments (asked for {barcodes[0]}, the file has {example}). {advice}"
    )


def count_fields(line: bytes, path: Path) -> int:
    """Return how many fields the first line of a file has; DataError if it is no fragment."""
    fields = line.rstrip(b"\r\n").split(b"\t")
    if len(fields) >= len(COLUMNS) and fields[1].isdigit() and fields[2].isdigit():
        return len(fields)
    kind = next((kind for magic, kind in OTHER_KINDS.items() if line.startswith(magic)), None)
    shown = line.rstrip(b"\r\n")[:80].decode(errors="replace")
    expected = (
        ". Expected chrom, start, end, barcode separated by tabs, start and end as whole numbers;"
        f" its first line is {shown!r}"
    )
    message = f"{path} is not a fragments file{expected if kind is None else f' but {kind}'}"
    raise DataError(message)


def bad_lines(path: Path, line: bytes, n_bad: int, first: int) -> DataError:
    """Return the error of lines that are no fragments; `first` counts from 1."""
    shown = line.split(b"\n", 1)[0][:80].decode(errors="backslashreplace")
    return DataError(
        f"{path}: line {first:,} is not a fragment ({n_bad:,} such lines so far): {shown!r}."
        " Expected the fields of the first line, whole numbers as start and end. The file is"
        " damaged or cut off, or numbers were written as 1e+05: remake it."
    )


def check_intervals(
    path: Path, chromosomes: Sequence[str], columns: Sequence[Array], n_before: int
) -> None:
    """Raise DataError where a fragment does not start before it ends.

    `columns` are codes of chromosomes, starts and ends, `n_before` the fragments before them.
    """
    chromosome, start, end = columns
    wrong = start >= end
    if wrong.any():
        i = int(wrong.argmax())
        where = f"{chromosomes[chromosome[i]]}:{start[i]}-{end[i]}"
        message = (
            f"{path}: {int(wrong.sum()):,} of {len(start):,} fragments from fragment"
            f" {n_before + 1:,} on do not start before they end (first: {where}, fragment"
            f" {n_before + i + 1:,}). The file is damaged or not 0-based, half-open: remake it."
        )
        raise DataError(message)


class WithinChromosomes:
    """Counts fragments that reach beyond the end of their chromosome, or lie beyond it."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        self._n_known = 0
        self._n_reaching = 0
        self._n_unknown = 0
        self._example = self._unknown = ""

    def add(self, path: Path, chromosome: str, start: Array, end: Array) -> None:
        """Count fragments of one chromosome; DataError if one starts beyond its end."""
        size = self._sizes.get(chromosome)
        if size is None:
            self._n_unknown += len(start)
            self._unknown = self._unknown or chromosome
            return
        self._n_known += len(start)
        if end.max() > size:
            beyond, reaching = start >= size, end > size
            i = int((beyond if beyond.any() else reaching).argmax())
            example = f"{chromosome}:{start[i]}-{end[i]}, {chromosome} has {size:,} bases"
            if beyond.any():
                message = (
                    f"{path}: {int(beyond.sum()):,} or more fragments start beyond the end of their"
                    f" chromosome (first: {example}). Are they of another genome assembly? Give"
                    " the sizes of theirs, or align them to this one."
                )
                raise DataError(message)
            self._n_reaching += int(reaching.sum())
            self._example = self._example or example

    def report(self, where: str) -> None:
        """Warn of what was counted; DataError if no fragment is on a chromosome of known size."""
        hint = naming_hint(self._unknown, self._sizes)
        if not self._n_known:
            message = (
                f"{where}: none of its {self._n_unknown:,} fragments is on a chromosome of known"
                f" size (fragments on {self._unknown}, sizes of {next(iter(self._sizes), 'none')})"
                f"{hint}. Are both of the same genome, named alike?"
            )
            raise DataError(message)
        if self._n_reaching:
            logger.warning(
                "%s: %s fragments reach beyond the end of their chromosome (first: %s): they are"
                " counted as they are",
                *(where, f"{self._n_reaching:,}", self._example),
            )
        if self._n_unknown:
            logger.warning(
                "%s: %s fragments are on chromosomes without a size (first: %s)%s",
                *(where, f"{self._n_unknown:,}", self._unknown),
                hint,
            )


def naming_hint(name: str, others: Collection[str]) -> str:
    """Return a hint if the chromosome is there under its other name, `1` for `chr1`; else ''."""
    other = other_name(name)
    if other not in others:
        return ""
    return f". The other file calls it {other}: rename the chromosomes of one of them"


def other_name(chromosome: str) -> str:
    """Return UCSC's name of an Ensembl chromosome and the reverse."""
    names = {"chrM": "MT", "MT": "chrM"}
    bare = chromosome.removeprefix("chr")
    return names.get(chromosome, bare if bare != chromosome else f"chr{bare}")


def check_index(path: Path, chromosomes: Collection[str]) -> None:
    """Warn of a tabix index beside the file that is older than it or of other chromosomes.

    Nothing here reads through the index, so that what is counted is right all the same.
    """
    index = next((i for i in (Path(f"{path}.tbi"), Path(f"{path}.csi")) if i.is_file()), None)
    if index is None:
        return
    reason = ""
    if index.stat().st_mtime < path.stat().st_mtime:
        reason = f"is older than {path.name}"
    indexed = _indexed_chromosomes(path, index)
    missing = sorted(set(chromosomes) ^ set(indexed or ()))
    if indexed is None:
        reason = "cannot be read as an index"
    elif missing:
        reason = (
            f"does not fit {path.name}: {len(missing)} chromosomes are in one of them only"
            f" (first: {missing[0]})"
        )
    if reason:
        logger.warning(
            "%s %s. It was not used, the counts are right; tools that fetch regions need it"
            " remade: tabix -f -p bed %s",
            *(index, reason, path),
        )


def _indexed_chromosomes(path: Path, index: Path) -> list[str] | None:
    level = pysam.set_verbosity(0)
    try:
        with pysam.TabixFile(str(path), index=str(index)) as tabix:
            return list(tabix.contigs)
    except (OSError, ValueError):
        return None
    finally:
        pysam.set_verbosity(level)
