"""Count matrices as 10x writes them: one HDF5 file, or a folder of three text files."""

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import io, sparse

from epifoundation.data.gzipped import open_bytes
from epifoundation.errors import DataError

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
    """Return cells × features of a folder: matrix.mtx, features.tsv or genes.tsv, barcodes.tsv.

    Each may be gzipped. `var` has gene_ids and, where the file has it, feature_types.
    """
    folder = Path(path)
    with open_bytes(_one_of(folder, "matrix.mtx")) as handle:
        matrix = sparse.csr_matrix(io.mmread(handle).T)
    features = _rows(_one_of(folder, "features.tsv", "genes.tsv"))
    barcodes = _rows(_one_of(folder, "barcodes.tsv"))[0]
    if matrix.shape != (len(barcodes), len(features)):
        message = (
            f"{folder}: matrix.mtx has {matrix.shape[1]} features × {matrix.shape[0]} barcodes, the"
            f" lists beside it {len(features)} and {len(barcodes)}"
        )
        raise DataError(message)
    columns = {
        name: features[i] for i, name in ((0, "gene_ids"), (2, "feature_types")) if i in features
    }
    names = features[1] if 1 in features else features[0]
    var = pd.DataFrame(columns).set_axis(pd.Index(names.to_numpy(dtype=object)), axis=0)
    return _named(matrix, pd.DataFrame(index=pd.Index(barcodes.to_numpy(dtype=object))), var)


def _named(matrix: sparse.csr_matrix, obs: pd.DataFrame, var: pd.DataFrame) -> ad.AnnData:
    """Join; symbols repeat in 10x files, so names move to a column."""
    labelled = var.assign(feature_name=var.index.to_numpy())
    labelled.index = pd.RangeIndex(len(var)).astype(str) if not var.index.is_unique else var.index
    return ad.AnnData(X=matrix.astype(np.int32), obs=obs, var=labelled)


def _one_of(folder: Path, *names: str) -> Path:
    candidates = [folder / f"{name}{suffix}" for name in names for suffix in ("", ".gz")]
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        message = f"{folder} has no {' or '.join(names)}(.gz); is it a 10x matrix folder?"
        raise DataError(message)
    return found


def _rows(path: Path) -> pd.DataFrame:
    with open_bytes(path) as handle:
        return pd.read_csv(handle, sep="\t", header=None, dtype=str, keep_default_na=False)
