"""Count matrices as 10x writes them: one HDF5 file, or three text files."""

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import io, sparse

from epifoundation.data.gzipped import open_bytes
from epifoundation.errors import DataError

HEADERS = ("x", "v1", "barcode", "barcodes", "gene", "genes", "feature", "features")
FEATURE_COLUMNS = {"id": "gene_ids", "feature_type": "feature_types", "interval": "interval"}


def read_tenx_h5(path: Path | str) -> ad.AnnData:
    """Return cells × features of Cell Ranger's HDF5 (version 3), var indexed by name.

    `var` has gene_ids, feature_types and, where the file has it, interval.
    """
    with h5py.File(path) as file:
        if "matrix" not in file or "features" not in file["matrix"]:
            message = f"{path} is HDF5 but not a 10x matrix (no group `matrix/features`)"
            raise DataError(message)
        group = file["matrix"]
        n_features, n_barcodes = group["shape"][:]
        parts = (group["data"][:], group["indices"][:], group["indptr"][:])
        # Stored by barcode: a CSC of features × barcodes is the CSR of barcodes × features.
        matrix = sparse.csr_matrix(parts, shape=(n_barcodes, n_features))
        features = group["features"]
        columns = {
            new: features[old].asstr()[:] for old, new in FEATURE_COLUMNS.items() if old in features
        }
        var = pd.DataFrame(columns, index=pd.Index(features["name"].asstr()[:], dtype=object))
        obs = pd.DataFrame(index=pd.Index(group["barcodes"].asstr()[:], dtype=object))
    return _named(matrix, obs, var)


def read_tenx_folder(path: Path | str) -> ad.AnnData:
    """Return cells × features of matrix.mtx, features.tsv or genes.tsv, and barcodes.tsv.

    `path` is the folder, or matrix.mtx itself; each file may be gzipped, and their names may begin
    alike, as GEO's do (GSM1_matrix.mtx.gz). Lists of one column, as written from Seurat, hold names
    only. `var` has gene_ids and, where the file has it, feature_types.
    """
    matrix_file = _matrix_file(Path(path))
    prefix = matrix_file.name.partition("matrix.mtx")[0]
    folder = matrix_file.parent
    with open_bytes(matrix_file) as handle:
        matrix = sparse.csr_matrix(io.mmread(handle).T)
    features = _rows(_one_of(folder, prefix, "features.tsv", "genes.tsv"), matrix.shape[1])
    barcodes = _rows(_one_of(folder, prefix, "barcodes.tsv"), matrix.shape[0])[0]
    if matrix.shape != (len(barcodes), len(features)):
        message = (
            f"{folder}: {matrix_file.name} has {matrix.shape[1]} features × {matrix.shape[0]}"
            f" barcodes, the lists beside it {len(features)} and {len(barcodes)}"
        )
        raise DataError(message)
    columns = {
        name: features[i] for i, name in ((0, "gene_ids"), (2, "feature_types")) if i in features
    }
    names = features[1] if 1 in features else features[0]
    var = pd.DataFrame(columns).set_axis(pd.Index(names.to_numpy(dtype=object)), axis=0)
    return _named(matrix, pd.DataFrame(index=pd.Index(barcodes.to_numpy(dtype=object))), var)


def _matrix_file(path: Path) -> Path:
    """Return matrix.mtx of a folder, under whatever name its series gives it."""
    if path.is_file():
        return path
    found = sorted([*path.glob("*matrix.mtx"), *path.glob("*matrix.mtx.gz")])
    if len(found) > 1 and len({each.name.removesuffix(".gz") for each in found}) > 1:
        message = (
            f"{path} holds {len(found)} matrices ({found[0].name}, {found[1].name}, ...). Name the"
            " one that is the sample's."
        )
        raise DataError(message)
    if not found:
        message = f"{path} has no matrix.mtx(.gz); is it a 10x matrix folder?"
        raise DataError(message)
    return found[0]


def _named(matrix: sparse.csr_matrix, obs: pd.DataFrame, var: pd.DataFrame) -> ad.AnnData:
    """Join; symbols repeat in 10x files, so names move to a column."""
    labelled = var.assign(feature_name=var.index.to_numpy())
    labelled.index = pd.RangeIndex(len(var)).astype(str) if not var.index.is_unique else var.index
    return ad.AnnData(X=matrix.astype(np.int32), obs=obs, var=labelled)


def _one_of(folder: Path, prefix: str, *names: str) -> Path:
    candidates = [folder / f"{prefix}{name}{suffix}" for name in names for suffix in ("", ".gz")]
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        wanted = " or ".join(prefix + name for name in names)
        message = f"{folder} has no {wanted}(.gz); is it a 10x matrix folder?"
        raise DataError(message)
    return found


def _rows(path: Path, n_expected: int) -> pd.DataFrame:
    """Return a list's columns; a first line that R wrote as the column's name is left out."""
    with open_bytes(path) as handle:
        rows = pd.read_csv(handle, sep="\t", header=None, dtype=str, keep_default_na=False)
    if len(rows) == n_expected + 1 and str(rows.iat[0, 0]).lower() in HEADERS:
        rows = rows.iloc[1:].reset_index(drop=True)
    return rows
