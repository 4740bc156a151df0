"""Files in which methods hand over embeddings, annotations and expression.

A method that could not run leaves such a file with its reason instead of numbers: the run goes on,
and its metrics say why they are empty.
"""

from collections.abc import Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import numpy.typing as npt
import pandas as pd

from epifoundation.contracts import CELL_TYPE_PREDICTIONS
from epifoundation.errors import ContractError
from epifoundation.files import whole

FAILED = "failed"  # column of a Parquet file, key of uns of an h5ad
BROKEN = "failed: "  # begins the reason where a result is missing, not merely undefined
Names = Sequence[str] | pd.Index | pd.Series


def write_embedding(path: Path | str, cells: Names, embedding: npt.NDArray[np.floating]) -> None:
    """Write columns cell, dim_0, dim_1 … (float32)."""
    names = [f"dim_{i}" for i in range(embedding.shape[1])]
    table = pd.DataFrame(embedding.astype(np.float32), columns=names)
    table.insert(0, "cell", np.asarray(cells, dtype=object))
    with whole(path) as partial:
        table.to_parquet(partial, index=False)


def read_embedding(path: Path | str, cells: Names) -> npt.NDArray[np.float32] | str:
    """Return (n_cells, n_dimensions) of the given cells, or why there is none."""
    table = pd.read_parquet(path)
    if FAILED in table:
        return str(table[FAILED].iloc[0])
    dimensions = [name for name in table if str(name).startswith("dim_")]
    rows = _rows_of(pd.Index(table["cell"]), cells, path)
    return table[dimensions].to_numpy(dtype=np.float32)[rows]


def write_predictions(path: Path | str, table: pd.DataFrame) -> None:
    """Write contracts.CELL_TYPE_PREDICTIONS with its `score:<type>` columns."""
    CELL_TYPE_PREDICTIONS.write(table, path)


def read_predictions(path: Path | str, cells: Names) -> pd.DataFrame | str:
    """Return the predictions of the given cells in their order, or why there are none."""
    table = pd.read_parquet(path)
    if FAILED in table:
        return str(table[FAILED].iloc[0])
    CELL_TYPE_PREDICTIONS.check(table, path)
    rows = _rows_of(pd.Index(table["cell"]), cells, path)
    return table.iloc[rows].reset_index(drop=True)


def write_expression(
    path: Path | str, cells: Names, genes: Names, levels: npt.NDArray[np.floating]
) -> None:
    """Write an AnnData, cells × genes by name, X dense float32."""
    data = ad.AnnData(
        levels.astype(np.float32),
        obs=pd.DataFrame(index=pd.Index(cells, dtype=object)),
        var=pd.DataFrame(index=pd.Index(genes, dtype=object)),
    )
    with whole(path) as partial:
        data.write_h5ad(partial, compression="lzf")


def read_expression(path: Path | str, cells: Names, genes: Names) -> npt.NDArray[np.float32] | str:
    """Return (n_cells, n_genes) of the given cells and genes, or why there is none."""
    data = ad.read_h5ad(path)
    if FAILED in data.uns:
        return str(data.uns[FAILED])
    rows = _rows_of(data.obs_names, cells, path)
    columns = data.var_names.get_indexer(pd.Index(genes))
    if (columns < 0).any():
        message = f"{path} lacks {(columns < 0).sum()} of {len(columns)} genes"
        raise ContractError(message)
    return np.asarray(data.X, dtype=np.float32)[rows][:, columns]


def write_failure(path: Path | str, cells: Names, reason: str) -> None:
    """Write why a method has no result, in the format of `path`'s suffix."""
    with whole(path) as partial:
        if Path(path).suffix == ".h5ad":
            obs = pd.DataFrame(index=pd.Index(cells, dtype=object))
            ad.AnnData(obs=obs, uns={FAILED: reason}).write_h5ad(partial)
        else:
            table = pd.DataFrame({"cell": np.asarray(cells, dtype=object), FAILED: reason})
            table.to_parquet(partial, index=False)


def _rows_of(have: pd.Index, cells: Names, path: Path | str) -> npt.NDArray[np.intp]:
    rows = have.get_indexer(pd.Index(cells))
    if (rows < 0).any():
        example = pd.Index(cells)[rows < 0][0]
        message = f"{path} lacks {(rows < 0).sum()} of {len(rows)} cells (first: {example})"
        raise ContractError(message)
    return rows
