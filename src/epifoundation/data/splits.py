"""Which cells train, validate and test; random over cells, the same in any order of cells."""

import hashlib
import logging
from collections.abc import Iterable

import pandas as pd

from epifoundation.errors import DataError

logger = logging.getLogger(__name__)


def split_cells(
    cells: Iterable[str],
    *,
    seed: int,
    dataset: str,
    validation_fraction: float,
    test_fraction: float,
) -> pd.DataFrame:
    """Return a SPLIT table, one row per cell in the given order.

    Cells are ranked by a hash of (seed, data set, cell): the first fraction tests, the next
    validates, the rest trains. A cell's rank does not depend on the order of the others.
    """
    names = list(cells)
    if len(set(names)) < len(names):
        message = f"{dataset}: {len(names) - len(set(names))} of {len(names)} cells repeat"
        raise DataError(message)
    ranked = sorted(names, key=lambda cell: _hash(f"{seed}|{dataset}|{cell}"))
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


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
