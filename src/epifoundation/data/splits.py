"""Which cells train, validate and test; the same in any order of cells.

Protocols: `paper` divides cells at random; `label_free` and `few_shot_N` have its test cells.
`sample_held_out` and `donor_held_out` test whole samples or donors, so that none is on both sides.
`few_shot_N` leaves N labelled cells of a type, one in five of them for validation, and calls the
others `unused`.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence

import pandas as pd

from epifoundation.contracts import NO_TYPE
from epifoundation.errors import DataError
from epifoundation.protocols import FEW_SHOT, HELD_OUT, UNKNOWN_DONOR

logger = logging.getLogger(__name__)

UNUSED = "unused"
CELLS_PER_VALIDATION = 5  # of few labelled cells, one in so many validates


def split_by_protocol(
    cells: pd.DataFrame,
    protocol: str,
    *,
    seed: int,
    dataset: str,
    validation_fraction: float,
    test_fraction: float,
    pretrained_donors: Sequence[str] = (),
) -> pd.DataFrame:
    """Return a SPLIT table, one row per cell in the given order.

    Parameters
    ----------
    cells
        Columns cell, sample, donor, cell_type.
    pretrained_donors
        Donors among the cells that pretraining reads; none of them tests in `donor_held_out`.
    """
    if group := HELD_OUT.get(protocol):
        barred = pretrained_donors if group == "donor" else ()
        tested = _tested_groups(cells[group], dataset, group, seed, test_fraction, barred)
        return _split_with_test(cells, tested, group, seed, dataset, validation_fraction)
    split = split_cells(
        cells["cell"],
        seed=seed,
        dataset=dataset,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
    )
    if protocol.startswith(FEW_SHOT):
        n_cells = int(protocol.removeprefix(FEW_SHOT))
        return _few_labelled(split, cells["cell_type"], n_cells, seed, dataset)
    return split


def split_cells(
    cells: Iterable[str],
    *,
    seed: int,
    dataset: str,
    validation_fraction: float,
    test_fraction: float,
) -> pd.DataFrame:
    """Return a SPLIT table of the protocol `paper`, one row per cell in the given order.

    Cells are ranked by a hash of (seed, data set, cell): the first fraction tests, the next
    validates, the rest trains. A cell's rank does not depend on the order of the others.
    """
    names = list(cells)
    if len(set(names)) < len(names):
        message = f"{dataset}: {len(names) - len(set(names))} of {len(names)} cells repeat"
        raise DataError(message)
    ranked = _ranked(names, seed, dataset)
    n_test = round(test_fraction * len(names))
    n_validation = round(validation_fraction * len(names))
    n_train = len(names) - n_test - n_validation
    if min(n_test, n_validation, n_train) < 1:
        message = (
            f"{dataset}: {len(names)} cells give {n_train} train, {n_validation} validation and"
            f" {n_test} test cells; each needs one. Raise atlas.validation_fraction or"
            " atlas.test_fraction, or add cells."
        )
        raise DataError(message)
    parts = ["test"] * n_test + ["validation"] * n_validation + ["train"] * n_train
    part_of = dict(zip(ranked, parts, strict=True))
    logger.info("%s: %d train, %d validation, %d test", dataset, n_train, n_validation, n_test)
    return pd.DataFrame({"cell": names, "split": [part_of[cell] for cell in names]})


def pretraining_cells(
    split: pd.DataFrame, tissues: pd.Series, *, without: Sequence[str] = (), test_too: bool = False
) -> pd.DataFrame:
    """Return the split that pretraining reads: without some tissues, or with the test cells too.

    Parameters
    ----------
    tissues
        Of the cells of `split`, in its order.
    without
        Tissues in small letters.
    """
    parts = split["split"]
    if test_too:
        parts = parts.where(parts != "test", "train")
    left_out = tissues.str.lower().isin(list(without)).to_numpy()
    parts = parts.where(~left_out, UNUSED)
    if not {"train", "validation"} <= set(parts):
        message = (
            f"without {', '.join(without)} no cell is left to pretrain on or to validate with."
            " Leave no_tissue out of benchmark.ablations, or add atlas samples of other tissues."
        )
        raise DataError(message)
    return split.assign(split=parts)


def _tested_groups(
    groups: pd.Series,
    dataset: str,
    kind: str,
    seed: int,
    test_fraction: float,
    barred: Sequence[str],
) -> list[str]:
    """Return the samples or donors that test: one, and more while they fit into the fraction.

    They stand in an order by hash; the seed says where in it to begin, so that as many seeds as
    there are groups test each of them.
    """
    unknown = groups.isna() | groups.isin(UNKNOWN_DONOR)
    if unknown.any():
        message = (
            f"{dataset}: the {kind} of {unknown.sum()} of {len(groups)} cells is unknown, so that"
            f" one may be on both sides. Fill the column `{kind}` of the sample sheet, or choose"
            " another protocol."
        )
        raise DataError(message)
    sizes = groups.value_counts()
    order = sorted(set(sizes.index) - set(barred), key=lambda group: _hash(f"{dataset}|{group}"))
    if not order or len(sizes) < 2:
        message = (
            f"{dataset}: {len(sizes)} {kind}s, of which {len(sizes) - len(order)} are in"
            f" pretraining; {kind}_held_out needs one to test and another to train"
        )
        raise DataError(message)
    start = seed % len(order)
    order = order[start:] + order[:start]
    tested, n_cells = order[:1], sizes[order[0]]
    for group in order[1:]:
        n_cells += sizes[group]
        if n_cells > test_fraction * len(groups) or len(tested) + 1 == len(sizes):
            break
        tested.append(group)
    return tested


def _split_with_test(
    cells: pd.DataFrame,
    tested: list[str],
    kind: str,
    seed: int,
    dataset: str,
    validation_fraction: float,
) -> pd.DataFrame:
    is_test = cells[kind].isin(tested).to_numpy()
    ranked = _ranked(list(cells["cell"][~is_test]), seed, dataset)
    n_validation = round(validation_fraction * len(cells))
    if not 1 <= n_validation < len(ranked):
        message = (
            f"{dataset}: with {', '.join(tested)} held out, {len(ranked)} cells are left, of which"
            f" {n_validation} would validate. Change atlas.validation_fraction, or add cells."
        )
        raise DataError(message)
    validation = set(ranked[:n_validation])
    parts = [
        "test" if test else "validation" if cell in validation else "train"
        for cell, test in zip(cells["cell"], is_test, strict=True)
    ]
    logger.info("%s: %s test, %d of %d cells", dataset, tested, is_test.sum(), len(cells))
    return pd.DataFrame({"cell": cells["cell"].to_numpy(), "split": parts})


def _few_labelled(
    split: pd.DataFrame, cell_types: pd.Series, n_cells: int, seed: int, dataset: str
) -> pd.DataFrame:
    """Keep the first `n_cells` of each type's training cells; a smaller number keeps fewer of them.

    Cells that validate in `paper` are unused too: their labels would be read beyond the N.
    """
    training = split["cell"][split["split"] == "train"]
    types = pd.Series(cell_types.to_numpy(), index=split["cell"])
    chosen: dict[str, str] = {}
    short = []
    types = types.loc[training]
    for name in sorted(set(types) - set(NO_TYPE)):
        few = _ranked(list(types.index[types == name]), seed, dataset)[:n_cells]
        if len(few) < n_cells:
            short.append(f"{name} ({len(few)})")
        validation = few[CELLS_PER_VALIDATION - 1 :: CELLS_PER_VALIDATION]
        chosen |= dict.fromkeys(few, "train") | dict.fromkeys(validation, "validation")
    if short:
        logger.warning("%s: types with fewer than %d cells: %s", dataset, n_cells, ", ".join(short))
    if set(chosen.values()) != {"train", "validation"}:
        message = (
            f"{dataset}: no type has {CELLS_PER_VALIDATION} labelled training cells, so that none"
            " could validate. Check the labels of this data set."
        )
        raise DataError(message)
    tested = split["cell"][split["split"] == "test"]
    parts = chosen | dict.fromkeys(tested, "test")
    return split.assign(split=split["cell"].map(parts).fillna(UNUSED))


def _ranked(names: list[str], seed: int, dataset: str) -> list[str]:
    return sorted(names, key=lambda cell: _hash(f"{seed}|{dataset}|{cell}"))


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
