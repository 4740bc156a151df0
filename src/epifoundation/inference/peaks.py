"""Which token of a model each column of a peak matrix is: the same peak, nothing near it."""

import logging

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epifoundation.data.vocabulary import N_SPECIAL, PAD, Vocabulary
from epifoundation.errors import DataError
from epifoundation.multiome import PEAK_COLUMNS

logger = logging.getLogger(__name__)

# `chr1:100-600` is 0-based and half-open (10x, BED), `chr1-101-600` 1-based and closed (Signac).
# Others, `chr1_100_600` say, have no rule: the model's peaks must tell which they are.
LABEL = r"^(?P<chrom>.+)(?P<first>[:_.|-])(?P<start>\d{1,12})(?P<second>[:_.|-])(?P<end>\d{1,12})$"
BASE_OF = {":-": 0, "--": 1}
OTHER_LABELS = ("labels with 0-based starts", "labels with 1-based starts")
NO_TOKEN = PAD
Tokens = NDArray[np.int32]


def tokens_of_columns(
    var: pd.DataFrame, vocabulary: Vocabulary, where: str, *, ignore_others: bool = False
) -> Tokens:
    """Return the token of each row of `var`, (n_columns,); 0 for a peak the model does not have.

    Peaks are the same if their names are, or their coordinates: of `var` columns chrom, start, end
    (0-based, half-open), or of labels. Unless `ignore_others`, a peak that is not the model's is
    an error, as is one that stands twice.
    """
    told = _coordinates(var)
    found = _best_match(var, told, vocabulary, where)
    known = found >= 0
    _check_shift(told, vocabulary, int(known.sum()), where)
    covered = 100 * len(np.unique(found[known])) / vocabulary.n_peaks
    counts = (
        f"{known.sum():,} of {len(found):,} peaks are among the {vocabulary.n_peaks:,} of the"
        f" model ({covered:.1f} % of them)"
    )
    if not known.any() or not (known.all() or ignore_others):
        message = (
            f"{where}: {counts}; {(~known).sum():,} are not (first: {var.index[~known][0]}; the"
            f" model's are such as {vocabulary.peaks['name'].iloc[0]}). Count the fragments on the"
            " model's own peaks (epifoundation count --peaks MODEL/peaks.bed.gz …)"
            + (", or leave other peaks out (--ignore-other-peaks)." if known.any() else ".")
        )
        raise DataError(message)
    repeated = pd.Series(found).duplicated().to_numpy() & known
    if repeated.any():
        message = (
            f"{where}: {repeated.sum():,} of {len(found):,} columns are a peak that another column"
            f" already is (first: {var.index[repeated][0]}). Add them up into one column each."
        )
        raise DataError(message)
    closed = "" if covered == 100 else "; those the matrix lacks are taken as closed"
    logger.info("%s: %s%s", where, counts, closed)
    return np.where(known, found + N_SPECIAL, NO_TOKEN).astype(np.int32)


def _best_match(
    var: pd.DataFrame, told: dict[str, pd.DataFrame], vocabulary: Vocabulary, where: str
) -> NDArray[np.int64]:
    """Return the row of the vocabulary of each peak, -1 for none, by what tells most of them."""
    matches = {}
    names = pd.Index(vocabulary.peaks["name"])
    if names.is_unique:
        matches["names"] = names.get_indexer(pd.Index(var.index.astype(str)))
    matches |= {what: _rows_of(peaks, vocabulary) for what, peaks in told.items()}
    n_known = {what: int((rows >= 0).sum()) for what, rows in matches.items()}
    best = max(n_known, key=n_known.__getitem__)
    other = n_known.get(OTHER_LABELS[1 - OTHER_LABELS.index(best)]) if best in OTHER_LABELS else 0
    if other:
        message = (
            f"{where}: labels such as {var.index[0]} do not say where a peak starts:"
            f" {n_known[best]:,} are the model's as {best}, {other:,} as the other. Name peaks"
            " `chr:start-end` with 0-based starts, or give var columns chrom, start, end."
        )
        raise DataError(message)
    if n_known[best]:
        logger.info("%s: peaks are recognised by their %s", where, best)
    return np.asarray(matches[best], np.int64)


def _coordinates(var: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the 0-based, half-open coordinates of peaks, as columns and as labels tell them."""
    told = {}
    if set(PEAK_COLUMNS) <= set(var.columns):
        chrom, start, end = (var[name].reset_index(drop=True) for name in PEAK_COLUMNS)
        told["columns chrom, start, end"] = _table(chrom, start, end, 0)
    parts = pd.Series(var.index.astype(str)).str.extract(LABEL)
    base = (parts["first"] + parts["second"]).map(BASE_OF)
    has_rule, of_others = base.notna(), base.isna() & parts["chrom"].notna()
    if has_rule.any():
        labels = parts.where(has_rule)
        told["labels"] = _table(labels["chrom"], labels["start"], labels["end"], base)
    if of_others.any():
        labels = parts.where(of_others)
        for what, shift in zip(OTHER_LABELS, (0, 1), strict=True):
            told[what] = _table(labels["chrom"], labels["start"], labels["end"], shift)
    return told


def _table(
    chrom: pd.Series, start: pd.Series, end: pd.Series, base: int | pd.Series
) -> pd.DataFrame:
    """Return coordinates counted from 0; what is no whole number becomes -1."""
    numbers = (
        pd.to_numeric(column.astype(str), errors="coerce").astype(np.float64)
        for column in (start, end)
    )
    from_, to = (column.where(column % 1 == 0) for column in numbers)
    return pd.DataFrame(
        {
            "chrom": chrom.astype(str),
            "start": (from_ - base).fillna(-1).astype(np.int64),
            "end": to.fillna(-1).astype(np.int64),
        }
    )


def _rows_of(
    peaks: pd.DataFrame, vocabulary: Vocabulary, *, start_shift: int = 0
) -> NDArray[np.int64]:
    known = pd.MultiIndex.from_frame(vocabulary.peaks[list(PEAK_COLUMNS)].astype({"chrom": str}))
    asked = pd.MultiIndex.from_arrays(
        [peaks["chrom"].astype(str), peaks["start"].astype(np.int64) + start_shift,
         peaks["end"].astype(np.int64)]
    )  # fmt: skip
    return np.asarray(known.get_indexer(asked), np.int64)


def _check_shift(
    told: dict[str, pd.DataFrame], vocabulary: Vocabulary, n_known: int, where: str
) -> None:
    """Refuse coordinates that would be the model's if all starts were one more or one less."""
    for what, peaks in told.items():
        if n_known == len(peaks):
            return
        for shift, changed in ((-1, "less"), (1, "more")):
            n_shifted = int((_rows_of(peaks, vocabulary, start_shift=shift) >= 0).sum())
            if n_shifted > max(n_known, len(peaks) // 2):
                message = (
                    f"{where}: {n_known:,} of {len(peaks):,} peaks are the model's, but"
                    f" {n_shifted:,} would be if every start in their {what} were {changed} by one."
                    " Columns and `chr:start-end` are read with 0-based starts, `chr-start-end`"
                    " with 1-based ones; yours seem to be the other way round. Give var columns"
                    " chrom, start, end with 0-based starts."
                )
                raise DataError(message)
