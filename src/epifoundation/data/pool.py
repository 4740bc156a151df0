"""Fragments of many files as one BED file, in bounded memory."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from epifoundation.data.fragments import FragmentChunk, read_fragments
from epifoundation.data.regions import Array
from epifoundation.errors import DataError

logger = logging.getLogger(__name__)

N_FIRST = 10  # MACS2 takes the tag size from the first ten lines of the first file


def pool_distinct_starts(fragments: Sequence[Path | str], target: Path | str) -> int:
    """Write the first fragment of each (chromosome, start) as BED, and return how many were read.

    MACS2 with --keep-dup 1 calls the same peaks on `target` as on the files themselves: it uses the
    start of a fragment only. The first ten lines stay as they are, since MACS2 measures them.
    Memory is one bit a base.
    """
    if not fragments:
        message = "there is no fragments file to call peaks on: no sample of the pool has fragments"
        raise DataError(message)
    seen: dict[str, Array] = {}
    n_read = n_written = 0
    with Path(target).open("wb") as handle:
        for path in fragments:
            for chunk in read_fragments(path):
                n_first = N_FIRST if n_read == 0 else 0
                if n_first:
                    _write(chunk.select(np.arange(min(n_first, len(chunk)))), handle)
                n_read += len(chunk)
                for chromosome, part in chunk.select(
                    np.arange(n_first, len(chunk))
                ).by_chromosome():
                    new = part.select(_first_seen(seen, chromosome, part.start))
                    _write(new, handle)
                    n_written += len(new)
    logger.info(
        "%d files: %d fragments, about %d distinct starts", len(fragments), n_read, n_written
    )
    return n_read


def _first_seen(seen: dict[str, Array], chromosome: str, start: Array) -> Array:
    """Return the positions of starts not seen before on the chromosome, and mark them seen."""
    distinct, position = np.unique(start, return_index=True)
    bits = seen.get(chromosome, np.empty(0, dtype=np.uint8))
    n_bytes = int(distinct[-1] >> 3) + 1
    if n_bytes > len(bits):
        grown = np.zeros(max(n_bytes, 2 * len(bits)), dtype=np.uint8)
        grown[: len(bits)] = bits
        seen[chromosome] = bits = grown
    byte, bit = distinct >> 3, (1 << (distinct & 7)).astype(np.uint8)
    new = (bits[byte] & bit) == 0
    np.bitwise_or.at(bits, byte, bit)
    return np.sort(position[new])


def _write(chunk: FragmentChunk, handle: BinaryIO) -> None:
    chrom = pl.Series(list(chunk.chromosomes)).gather(chunk.chromosome)
    table = pl.DataFrame({"chrom": chrom, "start": chunk.start, "end": chunk.end})
    table.write_csv(handle, include_header=False, separator="\t")
