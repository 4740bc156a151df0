"""Paired RNA and ATAC of one set of cells, as h5mu; checked when read and when written."""

from pathlib import Path

import anndata as ad
import h5py
import mudata as md
import numpy as np
import pandas as pd
from scipy import sparse

from epifoundation.errors import ContractError
from epifoundation.files import whole

md.set_options(pull_on_update=False)  # shared columns live in the global obs, once

PEAK_COLUMNS = ("chrom", "start", "end")


def multiome(rna: ad.AnnData, atac: ad.AnnData, obs: pd.DataFrame | None = None) -> md.MuData:
    """Join two AnnData of the same cells, in the same order.

    `rna` is cells × genes with `var["gene_id"]`; `atac` cells × peaks with `var` columns `chrom`,
    `start`, `end` (0-based, half-open). Per sample `X` holds integer counts (CSR); of an assembled
    data set `layers["counts"]` does, while `X` is log-normalised RNA and binary ATAC. `obs` holds
    what is said of a cell once, for both modalities.
    """
    joined = md.MuData({"rna": rna, "atac": atac})
    if obs is not None:
        joined.obs = obs.loc[joined.obs_names].copy()
    return joined


def read_multiome(path: Path | str, *, needs_obs: tuple[str, ...] = ()) -> md.MuData:
    """Return the multiome at `path`, whose global obs must have the columns `needs_obs`."""
    _check_is_h5mu(Path(path))
    try:
        joined = md.read_h5mu(path)
    except (OSError, KeyError, TypeError, ValueError) as error:
        message = f"{path} cannot be read as h5mu ({_line(error)}). Remake it, or fetch it again."
        raise ContractError(message) from error
    check_multiome(joined, str(path), needs_obs=needs_obs)
    return joined


def _check_is_h5mu(path: Path) -> None:
    """Raise ContractError, saying what the file is instead, if it is no h5mu."""
    if not path.is_file():
        message = f"{path} does not exist as a file. Check the path."
        raise ContractError(message)
    if not h5py.is_hdf5(path):
        with path.open("rb") as handle:
            start = handle.read(20)
        message = (
            f"{path} is not an HDF5 file, as an h5mu is (its {path.stat().st_size:,} bytes start"
            f" with {start!r}). Give an h5mu, or fetch it again."
        )
        raise ContractError(message)
    try:
        with h5py.File(path) as file:
            groups = list(file)
    except OSError as error:
        message = f"{path} is damaged or cut off ({_line(error)}). Remake it, or fetch it again."
        raise ContractError(message) from error
    if "mod" not in groups:
        what = "an h5ad, which holds one modality" if "X" in groups else "HDF5 of another kind"
        message = (
            f"{path} is {what} (it holds {', '.join(groups[:5]) or 'nothing'}), not an h5mu. Join"
            " RNA and ATAC of the same cells by `epifoundation pair`."
        )
        raise ContractError(message)


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def write_multiome(joined: md.MuData, path: Path | str) -> None:
    """Write the multiome whole, unless it breaks the contract."""
    check_multiome(joined, str(path))
    with whole(path) as partial:
        joined.write_h5mu(partial, compression="lzf")


def counts_of(part: ad.AnnData) -> sparse.csr_matrix:
    """Return the integer counts of a modality, wherever they are kept."""
    return part.layers.get("counts", part.X)


def check_multiome(joined: md.MuData, where: str, *, needs_obs: tuple[str, ...] = ()) -> None:
    """Raise ContractError with every breach of the contract in `multiome`."""
    missing = [name for name in ("rna", "atac") if name not in joined.mod]
    if missing:
        message = f"{where} has no modality {' and '.join(missing)} (found {', '.join(joined.mod)})"
        raise ContractError(message)
    rna, atac = joined["rna"], joined["atac"]
    problems = []
    for name, part, feature in (("rna", rna, "gene"), ("atac", atac, "peak")):
        if 0 in part.shape:
            problems.append(f"{name} holds {part.n_obs} cells × {part.n_vars} {feature}s")
        if not part.obs_names.is_unique:
            repeated = part.obs_names[part.obs_names.duplicated()]
            problems.append(f"{len(repeated)} {name} barcodes repeat (first: {repeated[0]})")
        counts = counts_of(part)
        if not sparse.issparse(counts):
            problems.append(f"{name} counts are a {type(counts).__name__}, expected sparse")
        elif n_unknown := int((~np.isfinite(counts.data)).sum()):
            problems.append(f"{n_unknown:,} {name} counts are NaN or infinite")
        elif counts.nnz and not np.array_equal(counts.data, np.floor(counts.data)):
            problems.append(f"{name} counts hold fractions (normalised already?)")
        elif counts.nnz and counts.data.min() < 0:
            problems.append(f"{name} counts hold negative numbers (first: {counts.data.min():g})")
    if not rna.obs_names.equals(atac.obs_names):
        apart = rna.obs_names.symmetric_difference(atac.obs_names)
        detail = (
            f"{len(apart)} are in one of the two only (first: {apart[0]})"
            if len(apart)
            else "they are the same in another order"
        )
        problems.append(f"barcodes of rna ({rna.n_obs}) and atac ({atac.n_obs}) differ: {detail}")
    lacking = [column for column in PEAK_COLUMNS if column not in atac.var]
    if lacking:
        problems.append(
            f"atac var lacks {', '.join(lacking)} (`epifoundation pair` with the file as --rna and"
            " as --atac reads them from the peaks' names)"
        )
    lacking = [column for column in needs_obs if column not in joined.obs]
    if lacking:
        problems.append(f"obs lacks {', '.join(lacking)}")
    if problems:
        message = f"{where} is not a usable multiome: {'; '.join(problems)}"
        raise ContractError(message)
