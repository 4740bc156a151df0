"""Counts that others made: 10x, h5ad or h5mu files to the matrices of this project."""

import logging
import re
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
from scipy import sparse

from epifoundation.data.annotation import make_unique
from epifoundation.data.gzipped import unpacked
from epifoundation.data.normalised import integers_of
from epifoundation.data.regions import regions_as_var
from epifoundation.data.tenx import read_tenx_folder, read_tenx_h5
from epifoundation.errors import DataError

logger = logging.getLogger(__name__)

UNKNOWN_CHROMOSOME = "unknown"
GENE_FEATURES, PEAK_FEATURES = ("Gene Expression", "GEX"), ("Peaks", "ATAC")
KEPT_OBS = ("cell_type", "batch")
OTHER_NAMES = {"annot": "cell_type"}  # the authors' released files
SUFFIX = r"[-_.]\d+$"  # `-1` of 10x and the like
RECOVERED = "counts are recovered from it, the smallest value of each cell taken for one"
MODALITY_SUFFIX = re.compile(r"[-_.:#](?:rna|gex|atac|peaks)$", re.IGNORECASE)
DASHED = re.compile(r"^(.+)-(\d+)-(\d+)$")
COLON = re.compile(r"^(.+):(\d+)-(\d+)$")
UNDERSCORED = re.compile(r"^(.+)_(\d+)_(\d+)$")


def read_rna(path: Path | str, genes: pd.DataFrame | None) -> ad.AnnData:
    """Return cells × genes: X integer counts (CSR int32), obs_names raw barcodes.

    `path` is a 10x .h5, folder or matrix.mtx, an .h5ad, or an .h5mu with modality `rna`; it may be
    gzipped, as GEO keeps it. `var` is indexed by
    unique gene name (R's make.unique) and has gene_id, chrom and gene_type: the file's own where it
    has them, else of the gene with the same id or name in `genes` (what `read_genes` returns), else
    empty and chromosome `unknown`. `obs` keeps cell_type and batch.
    """
    loaded = _load(path, "rna", GENE_FEATURES)
    check_unique(loaded.obs_names, path)
    var = genes_of_file(loaded.var, genes, path)
    logger.info(
        "%s: %d cells × %d genes, %d of them on unknown chromosomes",
        *(path, *loaded.shape, (var["chrom"] == UNKNOWN_CHROMOSOME).sum()),
    )
    return ad.AnnData(X=_integer_counts(loaded, path), obs=kept_obs(loaded.obs), var=var)


def read_atac(path: Path | str) -> ad.AnnData:
    """Return cells × peaks: X integer counts (CSR int32), `var` chrom, start, end.

    Peaks keep the file's order; their coordinates become 0-based and half-open, from whichever
    convention the file follows (`peak_regions`). Formats as for `read_rna`, modality `atac`.
    """
    loaded = _load(path, "atac", PEAK_FEATURES)
    check_unique(loaded.obs_names, path)
    var = peaks_of_file(loaded.var, path)
    logger.info("%s: %d cells × %d peaks", path, *loaded.shape)
    return ad.AnnData(X=_integer_counts(loaded, path), obs=kept_obs(loaded.obs), var=var)


def genes_of_file(var: pd.DataFrame, genes: pd.DataFrame | None, path: Path | str) -> pd.DataFrame:
    """Return gene_id, chrom and gene_type of a file's features, as `read_rna` says."""
    _check_are_genes(_names(var), path)
    return _gene_columns(var, genes)


def peaks_of_file(var: pd.DataFrame, path: Path | str) -> pd.DataFrame:
    """Return chrom, start and end of a file's features, as `read_atac` says."""
    peaks = regions_as_var(peak_regions(var, path))
    if not peaks.index.is_unique:
        repeated = peaks.index[peaks.index.duplicated()]
        message = f"{path}: {len(repeated)} peaks are listed twice (first: {repeated[0]})"
        raise DataError(message)
    return peaks


def pair(rna: ad.AnnData, atac: ad.AnnData, *, where: str) -> tuple[ad.AnnData, ad.AnnData]:
    """Return both with the same barcodes in the order of `rna`, or raise DataError.

    A suffix that names the modality (`_rna`, `_atac`) on every barcode is taken off first. `obs`
    columns that only `atac` has are copied to `rna`.
    """
    rna, atac = _without_suffix(rna), _without_suffix(atac)
    for name, part in (("RNA", rna), ("ATAC", atac)):
        check_unique(part.obs_names, f"{where}, {name}")
    only_rna = rna.obs_names.difference(atac.obs_names, sort=False)
    only_atac = atac.obs_names.difference(rna.obs_names, sort=False)
    if len(only_rna) or len(only_atac):
        examples = [
            f"{len(only):,} are in {name} only (first: {only[0]})"
            for name, only in (("RNA", only_rna), ("ATAC", only_atac))
            if len(only)
        ]
        message = (
            f"{where}: barcodes of RNA ({rna.n_obs:,}) and ATAC ({atac.n_obs:,}) differ:"
            f" {', '.join(examples)}. {_advice(rna.obs_names, atac.obs_names)}"
        )
        raise DataError(message)
    if not rna.obs_names.equals(atac.obs_names):
        logger.info("%s: ATAC cells put in the order of RNA", where)
        atac = atac[rna.obs_names].copy()
    for column in atac.obs.columns.difference(rna.obs.columns):
        rna.obs[column] = atac.obs[column]
    return rna, atac


def _advice(rna: pd.Index, atac: pd.Index) -> str:
    """Return what to do about barcodes that differ, by how they do."""
    if len(rna.intersection(atac)):
        return "Keep the cells that both have, in both files (by command: pair --common)."
    bare_rna, bare_atac = (names.str.replace(SUFFIX, "", regex=True) for names in (rna, atac))
    if len(bare_rna.intersection(bare_atac)):
        return (
            f"They agree without the numbers at their ends ({rna[0]}, {atac[0]}): name them alike"
            " in both files."
        )
    return (
        "No barcode is in both. Both files must hold the same cells, named alike; raw 10x ATAC"
        " barcodes are translated to GEX by the lines of the two whitelists."
    )


def _check_are_genes(names: pd.Series, path: Path | str) -> None:
    regions = names[[any(p.match(n) for p in (COLON, DASHED, UNDERSCORED)) for n in names]]
    if 2 * len(regions) > len(names):
        message = (
            f"{path}: {len(regions):,} of {len(names):,} features are regions, not genes (first:"
            f" {regions.iloc[0]}). These are ATAC counts: give the RNA counts of the cells."
        )
        raise DataError(message)


def check_unique(barcodes: pd.Index, where: Path | str) -> None:
    """Raise DataError if a barcode repeats."""
    if not barcodes.is_unique:
        repeated = barcodes[barcodes.duplicated()]
        message = (
            f"{where}: {len(repeated):,} of {len(barcodes):,} barcodes repeat (first:"
            f" {repeated[0]}). Are these several samples? Give each its own file."
        )
        raise DataError(message)


def peak_regions(var: pd.DataFrame, where: Path | str) -> pd.DataFrame:
    """Return chrom, start, end (0-based, half-open) of the peaks, whatever names them.

    Columns chrom (or chr), start, end are 0-based, half-open; with `seqnames` (R) 1-based, closed.
    Without columns names decide: `chr:start-end` and `chr_start_end` (10x, BED) are 0-based,
    half-open; `chr-start-end` (Signac) is 1-based, closed. The log says which it was.
    """
    for chrom, shift in (("chrom", 0), ("chr", 0), ("seqnames", 1)):
        if {chrom, "start", "end"} <= set(var):
            how = f"columns {chrom}, start, end"
            parts = var[[chrom, "start", "end"]].set_axis([0, 1, 2], axis=1)
            return _regions(parts, shift, var.index, where, how)
    names = _names(var)
    for pattern, shift, how in (
        (COLON, 0, "10x names chr:start-end"),
        (DASHED, 1, "Signac names chr-start-end"),
        (UNDERSCORED, 0, "names chr_start_end"),
    ):
        parts = names.str.extract(pattern)
        if parts.notna().all(axis=None):
            return _regions(parts, shift, pd.Index(names), where, how)
    unreadable = names[~names.map(lambda n: bool(COLON.match(n) or DASHED.match(n)))]
    example = unreadable.iloc[0] if len(unreadable) else f"{names.iloc[0]} and {names.iloc[-1]}"
    message = (
        f"{where}: var has no columns chrom, start, end, and {len(unreadable) or len(names):,} of"
        f" {len(names):,} names are not all chr:start-end, or all chr-start-end (first: {example})"
    )
    raise DataError(message)


def _regions(
    parts: pd.DataFrame, shift: int, names: pd.Index, where: Path | str, how: str
) -> pd.DataFrame:
    start = pd.to_numeric(parts[1], errors="coerce") - shift
    end = pd.to_numeric(parts[2], errors="coerce")
    wrong = ~((start >= 0) & (end > start)).to_numpy()
    if wrong.any():
        message = (
            f"{where}: {wrong.sum():,} of {len(names):,} peaks do not start before they end, read"
            f" from {how} (first: {names[wrong][0]})"
        )
        raise DataError(message)
    kind = "1-based, closed" if shift else "0-based, half-open"
    logger.info("%s: peak coordinates from %s, taken as %s", where, how, kind)
    chrom = parts[0].astype(str).to_numpy(dtype=object)
    table = {"chrom": chrom, "start": start.astype(np.int64), "end": end.astype(np.int64)}
    return pd.DataFrame(table).reset_index(drop=True)


def _load(path: Path | str, modality: str, features: tuple[str, ...]) -> ad.AnnData:
    """Return the modality of any supported file, its features of the given types only."""
    path = Path(path)
    if not path.exists():
        message = f"{path} does not exist. Check the path."
        raise DataError(message)
    read: dict[str, Callable[[Path], ad.AnnData]] = {
        ".h5": read_tenx_h5,
        ".h5ad": ad.read_h5ad,
        ".h5mu": lambda p: _modality(p, modality),
    }
    is_text = path.is_dir() or path.name.endswith(("matrix.mtx", "matrix.mtx.gz"))
    reader = read_tenx_folder if is_text else read.get(Path(path.name.removesuffix(".gz")).suffix)
    if reader is None:
        message = (
            f"{path}: counts are read from .h5 (10x), .h5ad, .h5mu, matrix.mtx or a 10x folder, by"
            " the suffix. Convert it to one of these."
        )
        raise DataError(message)
    try:
        with nullcontext(path) if is_text else unpacked(path) as file:
            loaded = reader(file)
    except (OSError, KeyError, EOFError, ValueError, zlib.error) as error:
        message = f"{path} cannot be read ({error}). Remake it, or check the download."
        raise DataError(message) from error
    wanted = of_modality(loaded.var, features, path)
    loaded = loaded if wanted.all() else loaded[:, wanted].copy()
    if 0 in loaded.shape:
        message = (
            f"{path} holds {loaded.n_obs} cells × {loaded.n_vars} features: nothing to use. Check"
            " how it was made."
        )
        raise DataError(message)
    return loaded


def of_modality(var: pd.DataFrame, features: tuple[str, ...], path: Path | str) -> np.ndarray:
    """Return which features are of the given types; all, where the file tells no types."""
    if "feature_types" not in var:
        return np.ones(len(var), np.bool_)
    wanted: np.ndarray = var["feature_types"].isin(features).to_numpy()
    if not wanted.any():
        found = ", ".join(map(str, pd.unique(var["feature_types"])[:3]))
        message = (
            f"{path} has no feature of type {features[0]} (found {found}). Is it the file of the"
            " other modality?"
        )
        raise DataError(message)
    return wanted


def _modality(path: Path, modality: str) -> ad.AnnData:
    with md.set_options(pull_on_update=False):  # columns of the cells are the file's own
        joined = md.read_h5mu(path)
    if modality not in joined.mod:
        message = f"{path} has no modality {modality} (found {', '.join(joined.mod)})"
        raise DataError(message)
    part = joined[modality].copy()
    for column in KEPT_OBS:
        if column in joined.obs:
            part.obs[column] = joined.obs.loc[part.obs_names, column].to_numpy()
    return part


def _integer_counts(loaded: ad.AnnData, path: Path | str) -> sparse.csr_matrix:
    """Return the first of layers["counts"], X and raw.X that holds integers, as int32."""
    places = {'layers["counts"]': loaded.layers.get("counts"), "X": loaded.X}
    if loaded.raw is not None and loaded.raw.shape == loaded.shape:
        places["raw.X"] = loaded.raw.X
    n_unknown = 0
    for name, values in places.items():
        if values is None:
            continue
        matrix = sparse.csr_matrix(values)
        n_unknown += (n_bad := int((~np.isfinite(matrix.data)).sum()))
        if n_bad:
            continue
        counts = integers_of(matrix)
        if counts is not None:
            logger.info("%s: counts from %s", path, name)
            if not np.array_equal(matrix.data, np.floor(matrix.data)):
                logger.warning("%s: %s is log-normalised; %s", path, name, RECOVERED)
            if not counts.nnz:
                n_cells, n_features = matrix.shape
                message = f"{path}: all of {n_cells:,} × {n_features:,} counts are 0. Remake it."
                raise DataError(message)
            return counts
    why = f"{n_unknown:,} values are NaN or infinite" if n_unknown else "normalised already?"
    message = (
        f'{path} holds no integer counts in layers["counts"], X or raw.X ({why}). Give the raw'
        " counts."
    )
    raise DataError(message)


def kept_obs(obs: pd.DataFrame) -> pd.DataFrame:
    """Return cell_type and batch where they are told, as text, empty if missing."""
    other = {old: new for old, new in OTHER_NAMES.items() if new not in obs}
    obs = obs.rename(columns=other)
    kept = obs[[column for column in KEPT_OBS if column in obs]].astype(object)
    kept = kept.where(kept.notna(), "").astype(str)
    kept.index = pd.Index(obs.index.astype(str).to_numpy(dtype=object))
    return kept


def _gene_columns(var: pd.DataFrame, genes: pd.DataFrame | None) -> pd.DataFrame:
    """Return gene_id, chrom, gene_type of the genes of a file, indexed by unique name."""
    label = pd.Index(make_unique(_names(var)))
    blank = pd.Series("", index=label, dtype=object)
    found = {column: blank.copy() for column in ("gene_id", "chrom", "gene_type")}
    for own, column in (("gene_ids", "gene_id"), ("gene_id", "gene_id"), ("chrom", "chrom")):
        if own in var:
            found[column] = pd.Series(var[own].astype(str).to_numpy(dtype=object), index=label)
    if "gene_type" in var:
        found["gene_type"] = pd.Series(var["gene_type"].astype(str).to_numpy(dtype=object), label)
    if genes is not None:
        row = _annotated_row(found["gene_id"], label, genes)
        for column, values in found.items():
            lacking = ((values == "") | (values == UNKNOWN_CHROMOSOME)).to_numpy() & (row >= 0)
            values[lacking] = genes[column].to_numpy(dtype=object)[row[lacking]]
    if "interval" in var:
        interval = var["interval"].astype(str).str.extract(COLON)[0].fillna("")
        lacking = (found["chrom"] == "").to_numpy()
        found["chrom"][lacking] = interval.to_numpy(dtype=object)[lacking]
    found["chrom"] = found["chrom"].replace("", UNKNOWN_CHROMOSOME)
    return pd.DataFrame(found, index=label)


def _names(var: pd.DataFrame) -> pd.Series:
    """Return the names of features: a column where the index holds something else."""
    column = next((c for c in ("feature_name", "gene_name") if c in var), None)
    return (var.index.to_series() if column is None else var[column]).astype(str)


def _annotated_row(ids: pd.Series, names: pd.Index, genes: pd.DataFrame) -> np.ndarray:
    """Return each gene's row in the annotation: by id without version, else by name; else -1."""
    by_id = genes["gene_id"].str.replace(r"\.\d+$", "", regex=True)
    by_id = by_id[~by_id.duplicated()]
    row = by_id.index.to_numpy()
    in_ids = pd.Index(by_id).get_indexer(pd.Index(ids.str.replace(r"\.\d+$", "", regex=True)))
    in_names = pd.Index(genes["gene_name"]).get_indexer(names)
    return np.where(in_ids >= 0, row[in_ids], in_names)


def _without_suffix(part: ad.AnnData) -> ad.AnnData:
    names = part.obs_names.astype(str)
    if not names.str.contains(MODALITY_SUFFIX).all():
        return part
    logger.info("a suffix that names the modality taken off each barcode (as of %s)", names[0])
    renamed = part.copy()
    renamed.obs_names = names.str.replace(MODALITY_SUFFIX, "", regex=True)
    return renamed
