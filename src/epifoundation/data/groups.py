"""Which barcode is in which group, for peak calls on groups of barcodes."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from epifoundation.contracts import CLUSTERS
from epifoundation.errors import DataError


def cluster_groups(paths: Sequence[Path | str], samples: Sequence[str]) -> list[dict[str, str]]:
    """Return for each sample, by its CLUSTERS table, barcode to group `<sample>#<cluster>`."""
    groups = []
    for path, sample in zip(paths, samples, strict=True):
        table = CLUSTERS.read(path)
        barcode = table["barcode"].str.removeprefix(f"{sample}#")
        groups.append(dict(zip(barcode, f"{sample}#" + table["cluster"], strict=True)))
    return groups


def read_groups(path: Path | str) -> dict[str, str]:
    """Return barcode to group of a table of these two columns; a header that says so is skipped."""
    table = pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False)
    if table.shape[1] != 2 or (table == "").any(axis=None):
        message = f"{path}: expected lines of barcode, tab, group; the first is {_first(path)!r}"
        raise DataError(message)
    if table.iloc[0].tolist() == ["barcode", "group"]:
        table = table.iloc[1:]
    repeated = table[0][table[0].duplicated()]
    if len(repeated):
        message = f"{path}: {len(repeated):,} barcodes are listed twice (first: {repeated.iloc[0]})"
        raise DataError(message)
    return dict(zip(table[0], table[1], strict=True))


def _first(path: Path | str) -> str:
    with Path(path).open(errors="replace") as handle:
        return handle.readline()[:80].rstrip("\n")
