"""How far label sources agree about the same cells: no model can be held to more than that."""

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import anndata as ad
import h5py
import pandas as pd
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from epifoundation.contracts import AGREEMENT, CONFUSION, NO_TYPE, Table
from epifoundation.data.cell_ontology import merged_names
from epifoundation.errors import DataError

logger = logging.getLogger(__name__)

GIVEN = "given"


def given_types(path: Path | str) -> pd.Series:
    """Return the type that came with the files of each cell of an h5mu; empty where none did.

    Only the table of cells is read.
    """
    try:
        with h5py.File(path) as file:
            obs = ad.io.read_elem(file["obs"])
    except (OSError, KeyError) as error:
        if isinstance(error, FileNotFoundError):
            message = f"{path} does not exist. Check the path."
        else:
            message = f"{path} cannot be read as h5mu or h5ad ({error}). Give one with cell types."
        raise DataError(message) from error
    types = obs["cell_type"] if "cell_type" in obs else pd.Series("", index=obs.index)
    return types.astype(object).fillna("").astype(str)


def sources_of(
    given: Sequence[pd.Series],
    datasets: Sequence[str],
    labels: Mapping[str, Sequence[pd.DataFrame]],
) -> pd.DataFrame:
    """Return the types of all cells by every source: columns dataset, given and those of `labels`.

    `given` and `datasets` hold one entry per sample, `labels` of each source a LABELS table per
    sample. Cells without a type are empty; so that names of different references can be compared,
    synonyms are merged by the Cell Ontology.
    """
    types: pd.DataFrame = pd.concat(
        [
            pd.DataFrame({"dataset": dataset, GIVEN: of_sample})
            for dataset, of_sample in zip(datasets, given, strict=True)
        ]
    )
    for source, tables in labels.items():
        by_cell = pd.concat(list(tables)).set_index("barcode")["cell_type"]
        types[source] = by_cell.reindex(types.index)
    for source in (GIVEN, *labels):
        plain = types[source].where(~types[source].isin(NO_TYPE), "").fillna("")
        types[source] = merged_names(plain.tolist())
    return types


def compare_sources(types: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return contracts.AGREEMENT and contracts.CONFUSION of every two sources in every data set.

    `types` is what `sources_of` returns. Of two sources the cells are compared that have a type in
    both; a source without any type in a data set is left out there.
    """
    sources = [name for name in types if name != "dataset"]
    agreement: list[dict[str, object]] = []
    confusion: list[dict[str, object]] = []
    for dataset, cells in types.groupby("dataset", sort=False):
        present = [name for name in sources if (cells[name] != "").any()]
        for one, other in combinations(present, 2):
            named = {"dataset": str(dataset), "one": one, "other": other}
            typed = cells.loc[(cells[one] != "") & (cells[other] != ""), [one, other]]
            agreement.append({**named, **_agreement(typed[one], typed[other])})
            pairs = _confusion(typed[one], typed[other]).to_dict("records")
            confusion += [{**named, **{str(k): v for k, v in pair.items()}} for pair in pairs]
            logger.info("%s", agreement[-1])
    return _rows(agreement, AGREEMENT), _rows(confusion, CONFUSION)


def _rows(rows: list[dict[str, object]], contract: Table) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(contract.dtypes)).astype(contract.dtypes)


def _agreement(one: pd.Series, other: pd.Series) -> dict[str, float]:
    n_cells = len(one)
    return {
        "n_cells": n_cells,
        "n_types_one": one.nunique(),
        "n_types_other": other.nunique(),
        "ari": float(adjusted_rand_score(one, other)) if n_cells else float("nan"),
        "nmi": float(normalized_mutual_info_score(one, other)) if n_cells else float("nan"),
        "agreement": float((one == other).mean()) if n_cells else float("nan"),
    }


def _confusion(one: pd.Series, other: pd.Series) -> pd.DataFrame:
    """Return the cells of each pair of types, most first within a type."""
    pairs = pd.DataFrame({"type_one": one, "type_other": other})
    counts = pairs.value_counts().rename("n_cells").reset_index()
    counts["share"] = counts["n_cells"] / counts.groupby("type_one")["n_cells"].transform("sum")
    return counts.sort_values(
        ["type_one", "n_cells", "type_other"], ascending=[True, False, True], ignore_index=True
    )
