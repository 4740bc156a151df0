"""Peak sets that are given: a BED file, or the peaks of paired matrices."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from epifoundation.data.intervals import check_ends
from epifoundation.data.peak_files import check_peaks, read_peaks
from epifoundation.data.regions import region_names
from epifoundation.errors import DataError

logger = logging.getLogger(__name__)


def frozen_peaks(
    path: Path | str,
    *,
    standard_chromosomes: Sequence[str],
    chrom_sizes: Mapping[str, int] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a given peak set as it is, in its own order, and its PEAK_SUMMARY.

    Refuses peaks off the standard chromosomes or beyond their ends, beside what `read_peaks`
    refuses and warns of.
    """
    peaks = read_peaks(path)
    strange = ~peaks["chrom"].isin(standard_chromosomes)
    if strange.any():
        message = (
            f"{path}: {strange.sum():,} of {len(peaks):,} peaks are on unknown chromosomes (first:"
            f" {region_names(peaks)[strange][0]}). List them in reference.standard_chromosomes, or"
            " remove them."
        )
        raise DataError(message)
    if chrom_sizes is not None:
        check_ends(peaks, chrom_sizes, path)
    return _as_given(peaks, path)


def peaks_of_matrices(
    tables: Sequence[pd.DataFrame], names: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the peaks that paired matrices share, in the order of the first, and PEAK_SUMMARY.

    `tables` are what their `var` says of the peaks, `names` the samples'. Matrices with different
    peaks are refused: counts cannot be moved from one peak set to another.
    """
    first = tables[0]
    for name, table in zip(names, tables, strict=True):
        apart = table.index.symmetric_difference(first.index)
        if len(apart):
            message = (
                f"samples {names[0]} and {name} have different peaks: {len(apart):,} are in one of"
                f" them only (first: {apart[0]}). Count both on one peak set, or use two atlases."
            )
            raise DataError(message)
    peaks = first[["chrom", "start", "end"]].reset_index(drop=True)
    peaks = peaks.astype({"chrom": object}).assign(name=first.index.to_numpy())
    check_peaks(peaks, names[0])
    return _as_given(peaks, names[0])


def _as_given(peaks: pd.DataFrame, where: Path | str) -> tuple[pd.DataFrame, pd.DataFrame]:
    labels = region_names(peaks)
    given = peaks.assign(name=peaks["name"].where(peaks["name"] != "", labels), score=0)
    row = {
        "call": "given",
        "n_fragments": 0,
        "tag_size_bp": 0,
        "n_called": len(given),
        "n_nonstandard_removed": 0,
        "n_blacklist_removed": 0,
        "n_kept": len(given),
        "total_bp": int((given["end"] - given["start"]).sum()),
        "occupancy_in_peaks": np.nan,
        "occupancy_outside": np.nan,
    }
    logger.info("%s: %d peaks, %d bp", where, row["n_kept"], row["total_bp"])
    return given, pd.DataFrame([row])
