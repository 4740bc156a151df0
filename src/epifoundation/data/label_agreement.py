"""How far label sources agree about the same cells: no model can be held to more than that."""

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import anndata as ad
import h5py
import pandas as pd
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from epifoundation.contracts import AGREEMENT, CONFUSION, LABELS, NO_TYPE, Table
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


def compare_files(
    cells: Sequence[Path | str],
    datasets: Sequence[str],
    labels: Mapping[str, Sequence[Path | str]],
    atlases: Sequence[str | None],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return contracts.AGREEMENT and contracts.CONFUSION of the sources of all samples' cells.

    `cells` are h5mu files, one per sample as `datasets` and `atlases`; `labels` of each source are
    LABELS files, which together hold all cells.
    """
    tables = {
        source: pd.concat([LABELS.read(path) for path in paths], ignore_index=True)
        for source, paths in labels.items()
    }
    given = [given_types(path) for path in cells]
    return compare_sources(sources_of(given, datasets, tables, atlases=atlases))


def sources_of(
    given: Sequence[pd.Series],
    datasets: Sequence[str],
    labels: Mapping[str, pd.DataFrame],
    *,
    atlases: Sequence[str | None],
) -> pd.DataFrame:
    """Return the types of all cells by every source: columns dataset, given and those of `labels`.

    `given`, `datasets` and `atlases` hold one entry per sample, `labels` a LABELS table of all
    cells per source. Cells without a type are empty; so that names of different references can be
    compared, synonyms are merged by the Cell Ontology, as the sample's atlas means them. A table
    without any of the cells is an error, one that lacks some is warned of.
    """
    parts = [
        pd.DataFrame({"dataset": dataset, "atlas": atlas or "", GIVEN: of_sample})
        for dataset, atlas, of_sample in zip(datasets, atlases, given, strict=True)
    ]
    types: pd.DataFrame = pd.concat(parts)
    for source, table in labels.items():
        by_cell = table.set_index("barcode")["cell_type"]
        _check_common(source, by_cell.index, types.index)
        types[source] = by_cell.reindex(types.index)
    for source in (GIVEN, *labels):
        types[source] = types[source].where(~types[source].isin(NO_TYPE), "").fillna("")
        for atlas in types["atlas"].unique():
            of_atlas = types["atlas"] == atlas
            names = types.loc[of_atlas, source].tolist()
            types.loc[of_atlas, source] = merged_names(names, atlas)
    return types.drop(columns="atlas")


def _check_common(source: str, labelled: pd.Index, cells: pd.Index) -> None:
    n_common = int(cells.isin(labelled).sum())
    if not n_common:
        message = (
            f"the labels of {source} and the other source have no cell in common: {len(labelled):,}"
            f" barcodes (e.g. {labelled[0] if len(labelled) else 'none'}) and {len(cells):,} (e.g."
            f" {cells[0] if len(cells) else 'none'}). Compare labels of the same cells."
        )
        raise DataError(message)
    if n_common < len(cells) or n_common < len(labelled):
        missing = cells[~cells.isin(labelled)].append(labelled[~labelled.isin(cells)])
        logger.warning(
            "%s: %d barcodes of %d and %d are common, and only they are compared (not: %s)",
            *(source, n_common, len(labelled), len(cells), missing[0]),
        )


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
