"""Sets of regions: without those that touch others, merged, clipped, in order."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyranges

from epifoundation.data.regions import region_names
from epifoundation.errors import DataError

logger = logging.getLogger(__name__)


def without_overlaps(regions: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Return the regions that share no base with any of `others`, in their order."""
    if regions.empty or others.empty:
        return regions.reset_index(drop=True)
    row = np.arange(len(regions))
    touching = _ranges(regions, row).overlap(_ranges(others, np.arange(len(others)))).df
    hit = touching["row"].to_numpy() if len(touching) else np.empty(0, dtype=int)
    return regions[~np.isin(row, hit)].reset_index(drop=True)


def _ranges(regions: pd.DataFrame, row: np.ndarray) -> pyranges.PyRanges:
    columns = {"Chromosome": "chrom", "Start": "start", "End": "end"}
    table = {new: regions[old].to_numpy() for new, old in columns.items()}
    return pyranges.PyRanges(pd.DataFrame({**table, "row": row}))


def merged(sets: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the union of sets of regions, sorted by chromosome name and start, score the largest.

    Regions that overlap or touch become one, as GenomicRanges' `reduce` makes of peaks without
    strand. Columns chrom, start, end (0-based, half-open), score.
    """
    columns = {"chrom": "object", "start": "int64", "end": "int64", "score": "int64"}
    tables = [one[list(columns)] for one in sets if len(one)]
    if not tables:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
    table = pd.concat(tables).sort_values(["chrom", "start", "end"], ignore_index=True)
    reach = table.groupby("chrom", sort=False)["end"].cummax()
    before = reach.groupby(table["chrom"], sort=False).shift(fill_value=-1)
    number = (table["start"] > before).cumsum()
    joined = table.groupby(number.to_numpy()).agg(
        {"chrom": "first", "start": "min", "end": "max", "score": "max"}
    )
    return joined.reset_index(drop=True)


def in_chromosome_order(regions: pd.DataFrame, chromosomes: Sequence[str]) -> pd.DataFrame:
    """Return the regions sorted by the order of `chromosomes`, then start and end."""
    rank = regions["chrom"].map({name: i for i, name in enumerate(chromosomes)})
    order = np.lexsort((regions["end"], regions["start"], rank))
    return regions.iloc[order].reset_index(drop=True)


def clipped(regions: pd.DataFrame, sizes: Mapping[str, int], where: Path | str) -> pd.DataFrame:
    """Return the regions cut at the ends of their chromosomes.

    MACS2 knows no chromosome lengths: a peak may reach half an extension past the last base.
    Refuses regions that start beyond the end: they are of another genome.
    """
    end = _sizes_of(regions, sizes, where)
    beyond = regions["end"] > end
    if beyond.any():
        logger.info("%s: %d regions cut at the ends of their chromosomes", where, beyond.sum())
    return regions.assign(end=np.minimum(regions["end"], end))


def check_ends(regions: pd.DataFrame, sizes: Mapping[str, int], where: Path | str) -> None:
    """Refuse regions that reach beyond the end of their chromosome."""
    end = _sizes_of(regions, sizes, where)
    beyond = (regions["end"] > end).to_numpy()
    if beyond.any():
        i = int(np.flatnonzero(beyond)[0])
        message = (
            f"{where}: {beyond.sum():,} of {len(regions):,} regions end beyond their chromosome"
            f" (first: {region_names(regions)[i]}, the chromosome has {end.iloc[i]:,} bases). Is it"
            " of the same genome? Cut or remove them."
        )
        raise DataError(message)


def _sizes_of(
    regions: pd.DataFrame, sizes: Mapping[str, int], where: Path | str
) -> "pd.Series[int]":
    """Return the length of each region's chromosome; refuse those that start beyond it."""
    unknown = sorted(set(regions["chrom"]) - set(sizes))
    if unknown:
        message = (
            f"{where}: {len(unknown)} chromosomes have no length (first: {unknown[0]}; lengths are"
            f" known of {', '.join(list(sizes)[:3])} …). Are both of the same genome, named alike?"
        )
        raise DataError(message)
    end = regions["chrom"].map(dict(sizes)).astype(np.int64)
    outside = (regions["start"] >= end).to_numpy()
    if outside.any():
        i = int(np.flatnonzero(outside)[0])
        message = (
            f"{where}: {outside.sum():,} of {len(regions):,} regions start beyond the end of their"
            f" chromosome (first: {region_names(regions)[i]}, the chromosome has"
            f" {end.iloc[i]:,} bases). The fragments or peaks are of another genome."
        )
        raise DataError(message)
    return end


def read_chrom_sizes(path: Path | str) -> dict[str, int]:
    """Return the length of each chromosome: a table of name and length without header (or .fai)."""
    try:
        table = pd.read_csv(path, sep="\t", header=None, usecols=[0, 1], comment="#")
        sizes = {str(name): int(size) for name, size in table.itertuples(index=False)}
    except ValueError as error:
        message = f"{path} is not a table of chromosome names and lengths ({error})"
        raise DataError(message) from error
    if min(sizes.values()) < 1:
        message = f"{path}: {min(sizes, key=lambda name: sizes[name])} has no length"
        raise DataError(message)
    return sizes
