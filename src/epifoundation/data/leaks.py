"""Refuse to learn from what is tested: groups on both sides, test cells in pretraining."""

import logging
from pathlib import Path

import pandas as pd

from epifoundation.contracts import LEARNED_FROM, SPLIT
from epifoundation.data.store import TokenStore
from epifoundation.errors import LeakError
from epifoundation.files import whole
from epifoundation.protocols import HELD_OUT, UNKNOWN_DONOR

logger = logging.getLogger(__name__)

LEARNED_FILE = "learned_from.parquet"  # in the directory of a pretrained model
LEARNING = ("train", "validation")


def read_split(
    path: Path | str,
    store: TokenStore,
    protocol: str,
    *,
    pretrained: Path | str | None = None,
    test_cells_allowed: bool = False,
) -> pd.DataFrame:
    """Return the split at `path`, or raise LeakError where its protocol is broken.

    By the split itself, or by the pretrained model that its cells are to be given to.
    """
    split = SPLIT.read(path)
    check_split(split, store.cells, protocol, path)
    if pretrained is not None:
        check_pretraining(
            *(pretrained, split, store.cells, protocol), test_cells_allowed=test_cells_allowed
        )
    return split


def check_split(split: pd.DataFrame, cells: pd.DataFrame, protocol: str, path: Path | str) -> None:
    """Raise LeakError where a donor or sample is on both sides of a protocol that holds it out.

    Parameters
    ----------
    cells
        Columns cell, sample, donor.
    """
    kind = HELD_OUT.get(protocol)
    if kind is None:
        return
    table = split.merge(cells[["cell", "sample", "donor"]], on="cell", how="left")
    tested = table[table["split"] == "test"]
    learned = table[table["split"].isin(LEARNING)]
    unknown = table[kind].isna() | table[kind].isin(UNKNOWN_DONOR)
    if unknown.any():
        message = (
            f"{path}: the {kind} of {unknown.sum()} of {len(table)} cells is unknown (first:"
            f" {table['cell'][unknown].iloc[0]}), so that it may be on both sides of {protocol}."
            " Fill the sample sheet and rerun split."
        )
        raise LeakError(message)
    both = sorted(set(tested[kind]) & set(learned[kind]))
    if both:
        n_cells = int(tested[kind].isin(both).sum())
        message = (
            f"{path}: {kind} {', '.join(both)} is on both sides of {protocol}: {n_cells} test cells"
            f" are of a {kind} that is trained on. Remove this file and rerun split."
        )
        raise LeakError(message)


def write_learned(
    model: Path | str,
    store: TokenStore,
    split: pd.DataFrame,
    *,
    trained: bool = True,
    start_from: Path | str | None = None,
) -> None:
    """Write into a model's directory which cells it was trained on or validated with.

    With those of the model it started from; where these are not known, nothing is written.
    """
    before = None if start_from is None else Path(start_from) / LEARNED_FILE
    if before is not None and not before.exists():
        return
    if not trained:
        split = split.iloc[:0]
    read = split["cell"][split["split"].isin(LEARNING)]
    cells = store.cells.iloc[store.rows_of(read)][list(LEARNED_FROM.dtypes)]
    if before is not None:
        cells = pd.concat([LEARNED_FROM.read(before), cells]).drop_duplicates("cell")
    path = Path(model) / LEARNED_FILE
    LEARNED_FROM.check(cells, path)
    with whole(path) as partial:
        cells.to_parquet(partial, index=False)


def check_pretraining(
    model: Path | str,
    split: pd.DataFrame,
    cells: pd.DataFrame,
    protocol: str,
    *,
    test_cells_allowed: bool = False,
) -> None:
    """Raise LeakError where pretraining read a test cell, or of its held-out sample or donor.

    A model without the list, such as the authors', cannot be checked, which is logged. With
    `test_cells_allowed` test cells may have been read in protocols that hold out no group.
    """
    path = Path(model) / LEARNED_FILE
    if not path.exists():
        logger.warning("%s does not say which cells it learned from: no leak can be seen", model)
        return
    learned = LEARNED_FROM.read(path)
    tested = cells[cells["cell"].isin(split["cell"][split["split"] == "test"])]
    kind = HELD_OUT.get(protocol)
    leaked = tested["cell"].isin(learned["cell"]) if kind or not test_cells_allowed else None
    what = "cells"
    if leaked is not None and not leaked.any() and kind:
        leaked = tested[kind].isin(set(learned[kind].dropna()) - set(UNKNOWN_DONOR))
        what = f"cells of its {kind}s"
    if leaked is not None and leaked.any():
        message = (
            f"{model} was pretrained on {what} that {protocol} tests: {leaked.sum()} of"
            f" {len(tested)} (first: {tested['cell'][leaked].iloc[0]}). Remove the model and rerun"
            " pretrain, so that it starts from the split of this protocol."
        )
        raise LeakError(message)
