"""Peaks from a BED file, checked before fragments are counted in them."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from epifoundation.data.fragment_checks import other_name
from epifoundation.data.intervals import check_ends, read_chrom_sizes
from epifoundation.data.regions import read_bed, region_names
from epifoundation.errors import DataError

logger = logging.getLogger(__name__)

ROUND_BP = 50  # widths of fixed-width peaks are multiples of this, or one more
SAME_WIDTH = 0.9  # share of peaks from which on they count as of fixed width
NEIGHBOURS = 10  # fewest pairs of peaks side by side that tell how ends are written


def read_peaks(
    path: Path | str, *, chromosome_sizes: Mapping[str, int] | None = None
) -> pd.DataFrame:
    """Return the peaks of a BED file in its order: chrom, start, end (0-based, half-open), name.

    The columns are taken as BED has them; names are labels, never parsed for coordinates, but what
    they and the columns show of another convention is warned of, as are peaks that overlap.
    DataError for no peak, peaks listed twice, or, with `chromosome_sizes`, beyond the ends.
    """
    peaks = read_bed(path)
    if peaks.empty:
        message = f"{path} holds no peak. Give a BED of at least one: chrom, start, end."
        raise DataError(message)
    check_peaks(peaks, path)
    if chromosome_sizes is not None:
        check_ends(peaks, chromosome_sizes, path)
    _warn_of_mixed_names(peaks, path)
    _tell_convention(peaks, path)
    return peaks


def known_sizes(path: Path | str | None) -> dict[str, int] | None:
    """Return the lengths of chromosomes; None where no file is given, as in a rule without one."""
    return read_chrom_sizes(path) if path else None


def check_peaks(peaks: pd.DataFrame, path: Path | str) -> None:
    """Raise DataError for peaks that are listed twice; warn of peaks that overlap."""
    labels = region_names(peaks)
    repeated = labels[labels.duplicated()]
    if len(repeated):
        message = (
            f"{path}: {len(repeated):,} of {len(peaks):,} peaks are listed twice (first:"
            f" {repeated[0]}). List each once."
        )
        raise DataError(message)
    table = peaks.sort_values(["chrom", "start", "end"])
    reach = table.groupby("chrom", sort=False)["end"].cummax()
    before = reach.groupby(table["chrom"], sort=False).shift(fill_value=0)
    within = table[table["start"] < before]
    if len(within):
        logger.warning(
            "%s: %s of %s peaks overlap an earlier one (first: %s): a fragment over both counts in"
            " both, as in Signac. Merge them if that is not meant, e.g. by bedtools merge.",
            *(path, f"{len(within):,}", f"{len(peaks):,}", region_names(within)[0]),
        )


def _warn_of_mixed_names(peaks: pd.DataFrame, path: Path | str) -> None:
    names = set(peaks["chrom"])
    mixed = sorted(name for name in names if name.startswith("chr") and other_name(name) in names)
    if mixed:
        logger.warning(
            "%s: %d chromosomes have two names (first: %s and %s); fragments are found under one of"
            " them only. Use one name for each.",
            *(path, len(mixed), mixed[0], other_name(mixed[0])),
        )


def _tell_convention(peaks: pd.DataFrame, path: Path | str) -> None:
    """Say how the coordinates are written: warn where they look 1-based and closed."""
    reason = _looks_closed(peaks)
    shift = _shift_of_names(peaks["name"], peaks)
    if shift == 0 and _dashed(peaks["name"]):
        reason = (
            f"the names are written as Signac's, which are 1-based and closed, with the start of"
            f" the columns (first: {peaks['name'].iloc[0]})"
        )
    elif shift == 1 and not reason:
        logger.info(
            "%s: columns are 0-based, half-open; its names are 1-based, closed (first: %s), one"
            " base apart as they should be",
            *(path, peaks["name"].iloc[0]),
        )
    if reason:
        logger.warning(
            "%s: its columns are read as BED has them, 0-based and half-open, but %s. If the starts"
            " are 1-based, lower each by one: every peak lacks its first base.",
            *(path, reason),
        )
    else:
        logger.info("%s: %d peaks, 0-based, half-open", path, len(peaks))


def _looks_closed(peaks: pd.DataFrame) -> str:
    """Return what about the columns looks 1-based and closed, or an empty string."""
    width = (peaks["end"] - peaks["start"]).to_numpy()
    common = int(np.bincount(width).argmax()) if width.max() < 1_000_000 else 0
    fixed = len(peaks) >= NEIGHBOURS and (width == common).mean() >= SAME_WIDTH
    if fixed and common > ROUND_BP and (common + 1) % ROUND_BP == 0:
        return f"{(width == common).sum():,} peaks are {common} wide, which closed is {common + 1}"
    table = peaks.sort_values(["chrom", "start"])
    gap = table["start"].to_numpy()[1:] - table["end"].to_numpy()[:-1]
    gap = gap[table["chrom"].to_numpy()[1:] == table["chrom"].to_numpy()[:-1]]
    n_closed, n_open = int((gap == 1).sum()), int((gap == 0).sum())
    # Peaks side by side: 1-based, closed ones begin one after the end of the other.
    if n_closed >= max(NEIGHBOURS, 0.05 * len(peaks)) and not n_open:
        return f"{n_closed:,} peaks begin one base after another's end, and none at it"
    return ""


def _dashed(names: "pd.Series[str]") -> bool:
    return bool(names.str.fullmatch(r".+-\d+-\d+").all())


def _shift_of_names(names: "pd.Series[str]", peaks: pd.DataFrame) -> int | None:
    """Return by how many bases starts in the names exceed those of the columns, if all agree."""
    parts = names.str.extract(r"^(?P<chrom>.+)[:-](?P<start>\d+)-(?P<end>\d+)$")
    if parts.isna().any(axis=None):
        return None
    same = (parts["chrom"] == peaks["chrom"]) & (parts["end"].astype(int) == peaks["end"])
    shifts = (parts["start"].astype(int) - peaks["start"]).unique()
    return int(shifts[0]) if same.all() and len(shifts) == 1 else None
