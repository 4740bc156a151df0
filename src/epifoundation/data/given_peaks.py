"""Peak sets that are given: a BED file, or the peaks of paired matrices."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import mudata as md
import numpy as np
import pandas as pd

from epifoundation.data.intervals import check_ends
from epifoundation.data.regions import read_bed, region_names
from epifoundation.errors import DataError

logger = logging.getLogger(__name__)


def frozen_peaks(
    path: Path | str,
    *,
    standard_chromosomes: Sequence[str],
    chrom_sizes: Mapping[str, int] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a given peak set as it is, in its own order, and its PEAK_SUMMARY.

    Refuses peaks off the standard chromosomes or beyond their ends, and peaks listed twice; warns
    of peaks that overlap.
    """
    peaks = read_bed(path)
    strange = ~peaks["chrom"].isin(standard_chromosomes)
    if strange.any():
        message = (
            f"{path}: {strange.sum():,} of {len(peaks):,} peaks are on unknown chromosomes (first:"
            f" {region_names(peaks)[strange][0]}). List them in reference.standard_chromosomes, or"
            " remove them."
        )
        raise DataError(message)
    if chrom_sizes is not None and len(peaks):
        check_ends(peaks, chrom_sizes, path)
    return _as_given(peaks, path)


def peaks_of_matrices(
    multiomes: Sequence[md.MuData], names: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the peaks that paired matrices share, in the order of the first, and PEAK_SUMMARY.

    `names` are the samples'. Matrices with different peaks are refused: counts cannot be moved from
    one peak set to another.
    """
    first = multiomes[0]["atac"].var
    for name, multiome in zip(names, multiomes, strict=True):
        labels = multiome["atac"].var_names
        apart = labels.symmetric_difference(first.index)
        if len(apart):
            message = (
                f"samples {names[0]} and {name} have different peaks: {len(apart):,} are in one of"
                f" them only (first: {apart[0]}). Count both on one peak set, or use two atlases."
            )
            raise DataError(message)
    peaks = first[["chrom", "start", "end"]].reset_index(drop=True)
    peaks = peaks.astype({"chrom": object}).assign(name=first.index.to_numpy())
    return _as_given(peaks, names[0])


def _as_given(peaks: pd.DataFrame, where: Path | str) -> tuple[pd.DataFrame, pd.DataFrame]:
    labels = region_names(peaks)
    repeated = labels[labels.duplicated()]
    if peaks.empty or len(repeated):
        what = (
            f"{len(repeated):,} of {len(peaks):,} peaks are listed twice (first: {repeated[0]})."
            " List each once."
            if len(repeated)
            else "there is no peak. Give a BED of at least one."
        )
        message = f"{where}: {what}"
        raise DataError(message)
    _warn_of_overlaps(peaks, where)
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


def _warn_of_overlaps(peaks: pd.DataFrame, where: Path | str) -> None:
    table = peaks.sort_values(["chrom", "start", "end"])
    reach = table.groupby("chrom", sort=False)["end"].cummax()
    before = reach.groupby(table["chrom"], sort=False).shift(fill_value=0)
    within = table[table["start"] < before]
    if len(within):
        logger.warning(
            "%s: %d of %d peaks overlap an earlier one (first: %s); they stay, and a fragment in"
            " both counts in both",
            *(where, len(within), len(peaks), region_names(within)[0]),
        )
