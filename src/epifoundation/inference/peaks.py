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
LABEL = r"^(?P<chrom>.+)(?P<separator>[:-])(?P<start>\d+)-(?P<end>\d+)$"
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
    found = _best_match(var, vocabulary)
    known = found >= 0
    _check_shift(var, vocabulary, int(known.sum()), where)
    covered = 100 * len(np.unique(found[known])) / vocabulary.n_peaks
    counts = (
        f"{known.sum():,} of {len(found):,} peaks are among the {vocabulary.n_peaks:,} of the"
        f" model ({covered:.1f} % of them)"
    )
    if not known.any() or not (known.all() or ignore_others):
        message = (
            f"{where}: {counts}; {(~known).sum():,} are not (first: {var.index[~known][0]}). Count"
            " the fragments on the model's own peaks (epifoundation count --peaks"
            " MODEL/peaks.bed.gz …)"
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


def _best_match(var: pd.DataFrame, vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Return the row of the vocabulary of each peak, -1 for none, by what tells most of them."""
    matches = []
    names = pd.Index(vocabulary.peaks["name"])
    if names.is_unique:
        matches.append(("names", names.get_indexer(pd.Index(var.index.astype(str)))))
    for what, peaks in _coordinates(var).items():
        matches.append((what, _rows_of(peaks, vocabulary)))
    what, found = max(matches, key=lambda match: int((match[1] >= 0).sum()))
    logger.info("peaks are recognised by their %s", what)
    return np.asarray(found, np.int64)


def _coordinates(var: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the 0-based, half-open coordinates of peaks, as columns and as labels tell them."""
    told = {}
    if set(PEAK_COLUMNS) <= set(var.columns):
        told["columns chrom, start, end"] = var[list(PEAK_COLUMNS)]
    parts = pd.Series(var.index.astype(str)).str.extract(LABEL)
    one_based = (parts["separator"] == "-").astype(int)
    start = pd.to_numeric(parts["start"]).fillna(-1).astype(np.int64) - one_based
    end = pd.to_numeric(parts["end"]).fillna(-1).astype(np.int64)
    told["labels"] = pd.DataFrame({"chrom": parts["chrom"], "start": start, "end": end})
    return told


def _rows_of(
    peaks: pd.DataFrame, vocabulary: Vocabulary, *, start_shift: int = 0
) -> NDArray[np.int64]:
    known = pd.MultiIndex.from_frame(vocabulary.peaks[list(PEAK_COLUMNS)].astype({"chrom": str}))
    asked = pd.MultiIndex.from_arrays(
        [peaks["chrom"].astype(str), peaks["start"].astype(np.int64) + start_shift,
         peaks["end"].astype(np.int64)]
    )  # fmt: skip
    return np.asarray(known.get_indexer(asked), np.int64)


def _check_shift(var: pd.DataFrame, vocabulary: Vocabulary, n_known: int, where: str) -> None:
    """Refuse coordinates that would be the model's if all starts were one more or one less."""
    if n_known == len(var):
        return
    for what, peaks in _coordinates(var).items():
        for shift, changed in ((-1, "less"), (1, "more")):
            n_shifted = int((_rows_of(peaks, vocabulary, start_shift=shift) >= 0).sum())
            if n_shifted > max(n_known, len(var) // 2):
                message = (
                    f"{where}: {n_known:,} of {len(var):,} peaks are the model's, but"
                    f" {n_shifted:,} would be if every start in their {what} were {changed} by one."
                    " Columns and `chr:start-end` are read with 0-based starts, `chr-start-end`"
                    " with 1-based ones; yours seem to be the other way round. Give var columns"
                    " chrom, start, end with 0-based starts."
                )
                raise DataError(message)
