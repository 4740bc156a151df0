"""All samples of a data set as one labelled multiome, written without holding it in memory."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import anndata as ad
import h5py
import mudata as md
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from epifoundation import __version__
from epifoundation.contracts import LABELS, SCHEMA_VERSION
from epifoundation.data.cell_ontology import ontology_ids
from epifoundation.data.csr_files import RowAppender, check_room, take_columns
from epifoundation.data.expression import log_normalize
from epifoundation.data.multiome_rows import MultiomeRows
from epifoundation.errors import DataError
from epifoundation.files import file_hash, whole, with_progress
from epifoundation.multiome import PEAK_COLUMNS, multiome

logger = logging.getLogger(__name__)

UNLABELLED = "unlabelled"
NEEDS_OBS = ("sample", "batch", "tissue", "donor")
GENE_COLUMNS = ("gene_id", "chrom", "gene_type")
# Column of LABELS, and its name in obs.
LABEL_COLUMNS = {
    "cell_type": "cell_type",
    "cell_ontology_id": "cell_ontology_id",
    "score": "label_score",
    "margin": "label_margin",
    "runner_up": "label_runner_up",
    "cluster": "cluster",
}
LabelSource = Literal["disco_wnn", "disco_rna", "given", "none"]


def write_atlas(
    samples: Sequence[Path | str],
    labels: Sequence[Path | str],
    output: Path | str,
    *,
    label_source: LabelSource,
    config_hash: str,
) -> None:
    """Write one multiome of all samples' cells, in the given order, sample after sample.

    `samples` are h5mu files of counts with global obs sample, batch, tissue and donor; `labels` one
    LABELS table per sample where DISCO labels them, else empty. Types that were given get the
    Cell Ontology id of their name, where it is known. Of the result, `rna.X` is
    log-normalised and `atac.X` binary; both have `layers["counts"]`. Peaks must be the same
    throughout; of genes those that every sample has are kept. Both come in the order of the first
    sample. `uns` says what it was made from: schema_version, package_version, config_hash,
    label_source and `inputs`, a table of the samples with the SHA-256 of their files.
    """
    parts = [MultiomeRows.open(path, needs_obs=NEEDS_OBS) for path in samples]
    peaks, genes = parts[0].var("atac")[list(PEAK_COLUMNS)], _common_genes(parts)
    alike = peaks.astype({"chrom": str})
    places = [_peak_place(part, alike, _name(parts[0])) for part in parts]
    obs = _cells(parts, [LABELS.read(path) for path in labels], label_source)
    joined = _without_counts(obs, genes, peaks)
    joined.uns["schema_version"] = SCHEMA_VERSION
    joined.uns["package_version"] = __version__
    joined.uns["label_source"] = label_source
    joined.uns["config_hash"] = config_hash
    joined.uns["inputs"] = _inputs(parts, samples, labels)
    names = sum(int(table.memory_usage(deep=True).sum()) for table in (obs, genes, peaks))
    with whole(output) as partial:
        check_room(partial, 3 * names)  # the global obs and var repeat the names
        joined.write_h5mu(partial, compression="lzf")
        with h5py.File(partial, "r+") as file:
            _append(file["mod/rna"], _rna_blocks(parts, genes.index))
            _append(file["mod/atac"], _atac_blocks(parts, places))
    logger.info(
        "%d cells of %d samples, %d genes, %d peaks; cell types: %s",
        len(obs),
        len(samples),
        len(genes),
        len(peaks),
        ", ".join(f"{name} {n}" for name, n in obs["cell_type"].value_counts().items()),
    )


def _without_counts(obs: pd.DataFrame, genes: pd.DataFrame, peaks: pd.DataFrame) -> md.MuData:
    """Return the multiome with all but its counts: no entry is stored yet."""

    def part(var: pd.DataFrame) -> ad.AnnData:
        empty = sparse.csr_matrix((len(obs), len(var)), dtype=np.float32)
        layers = {"counts": empty.astype(np.int32)}
        return ad.AnnData(empty, obs=pd.DataFrame(index=obs.index), var=var, layers=layers)

    return multiome(part(genes), part(peaks), obs)


def _append(
    part: h5py.Group, blocks: Iterator[tuple[sparse.csr_matrix, NDArray[np.number]]]
) -> None:
    """Write counts, and the values of X at the same entries, block after block."""
    groups = [part["X"], part["layers/counts"]]
    with RowAppender(groups, [np.dtype(np.float32), np.dtype(np.int32)]) as rows:
        for counts, values in blocks:
            rows.append(counts, values.astype(np.float32), counts.data.astype(np.int32))


def _rna_blocks(
    samples: Sequence[MultiomeRows], genes: pd.Index
) -> Iterator[tuple[sparse.csr_matrix, NDArray[np.number]]]:
    for sample in with_progress(samples, "samples, RNA", total=len(samples), logger=logger):
        place = genes.get_indexer(sample.var("rna").index)
        for block in sample.blocks("rna"):
            counts = take_columns(block, place, len(genes))
            yield counts, log_normalize(counts).data


def _atac_blocks(
    samples: Sequence[MultiomeRows], places: Sequence[NDArray[np.int64] | None]
) -> Iterator[tuple[sparse.csr_matrix, NDArray[np.number]]]:
    pairs = zip(samples, places, strict=True)
    for sample, place in with_progress(pairs, "samples, ATAC", total=len(samples), logger=logger):
        for block in sample.blocks("atac"):
            counts = block if place is None else take_columns(block, place, block.shape[1])
            yield counts, np.ones(counts.nnz)


def _peak_place(sample: MultiomeRows, peaks: pd.DataFrame, first: str) -> NDArray[np.int64] | None:
    """Return where each peak of the sample stands among `peaks`, None where all stand alike."""
    here = sample.var("atac")[list(PEAK_COLUMNS)].astype({"chrom": str})
    if len(here) == len(peaks) and (here.to_numpy() == peaks.to_numpy()).all():
        return None
    known = pd.MultiIndex.from_frame(peaks)
    place = known.get_indexer(pd.MultiIndex.from_frame(here))
    unknown = np.flatnonzero(place < 0)
    if len(unknown) or not len(here) == len(peaks) == len(np.unique(place)):
        example = " ".join(map(str, here.iloc[unknown[0]])) if len(unknown) else "none"
        message = (
            f"samples {first} and {_name(sample)} have different peaks ({len(peaks):,} and"
            f" {len(here):,}; {len(unknown):,} of the second are not in the first, e.g. {example})."
            " All samples of an atlas are counted on one peak set; matrices with peaks of their own"
            " belong in an atlas of their own."
        )
        raise DataError(message)
    logger.info("sample %s: peaks put in the order of sample %s", _name(sample), first)
    return np.asarray(place, np.int64)


def _common_genes(samples: Sequence[MultiomeRows]) -> pd.DataFrame:
    var = samples[0].var("rna")
    names = [var.index, *(sample.var("rna").index for sample in samples[1:])]
    shared = var.index
    for sample, index in zip(samples, names, strict=True):
        if not index.is_unique:
            repeated = index[index.duplicated()]
            message = f"{sample.name}: {len(repeated)} gene names repeat (first: {repeated[0]})"
            raise DataError(message)
        shared = shared[shared.isin(index)]
    if shared.empty:
        message = (
            f"samples {', '.join(map(_name, samples))} share no gene name (e.g."
            f" {', '.join(index[0] for index in names)}). All samples of an atlas are counted on"
            " one annotation."
        )
        raise DataError(message)
    if any(len(index) != len(shared) for index in names):
        sizes = ", ".join(f"{_name(s)} {len(i)}" for s, i in zip(samples, names, strict=True))
        logger.info("%d genes are in every sample (%s); the others are dropped", len(shared), sizes)
    return pd.DataFrame(var.loc[shared, [name for name in GENE_COLUMNS if name in var]])


def _cells(
    samples: Sequence[MultiomeRows], labels: Sequence[pd.DataFrame], source: LabelSource
) -> pd.DataFrame:
    parts = [sample.obs for sample in samples]
    if source.startswith("disco"):
        parts = [_with_labels(*pair) for pair in zip(samples, labels, strict=True)]
    cells: pd.DataFrame = pd.concat(parts)
    if not cells.index.is_unique:
        repeated = cells.index[cells.index.duplicated()]
        message = (
            f"{len(repeated)} cells are in two samples (first: {repeated[0]}); give each sample"
            " a name of its own, and list it once"
        )
        raise DataError(message)
    if source == "given":
        _check_given(cells)
        if "cell_ontology_id" not in cells:
            cells = cells.assign(cell_ontology_id=_given_ids(cells))
    elif source == "none":
        cells["cell_type"] = UNLABELLED
    text = cells.select_dtypes(exclude=["number", "bool"]).columns
    return cells.assign(
        **{
            name: cells[name].astype(object).fillna("").astype(str).astype("category")
            for name in text
        }
    )


def _given_ids(cells: pd.DataFrame) -> pd.Series:
    """Return the id of each cell's type; a name may mean another type in an atlas of its tissue."""
    types, tissues = (cells[name].astype(str).to_numpy() for name in ("cell_type", "tissue"))
    ids = np.full(len(cells), "", dtype=object)
    for tissue in np.unique(tissues):
        of_tissue = tissues == tissue
        ids[of_tissue] = ontology_ids(types[of_tissue].tolist(), tissue)
    return pd.Series(ids, index=cells.index)


def _with_labels(sample: MultiomeRows, labels: pd.DataFrame) -> pd.DataFrame:
    table, cells = labels.set_index("barcode"), sample.obs
    missing = ~cells.index.isin(table.index)
    strange = ~table.index.isin(cells.index)
    for which, names, what in (
        (missing, cells.index, "cells have no label"),
        (strange, table.index, "labels are of no cell"),
    ):
        if which.any():
            message = (
                f"sample {_name(sample)}: {which.sum()} of {len(names)} {what} (first:"
                f" {names[which][0]}). The labels are another sample's, or older than the cells;"
                " rerun label."
            )
            raise DataError(message)
    table = table.loc[cells.index]
    found = {name: table[column] for column, name in LABEL_COLUMNS.items() if column in table}
    return cells.assign(**found)


def _check_given(cells: pd.DataFrame) -> None:
    if "cell_type" not in cells:
        message = (
            "labels.source is `given`, but no sample has obs['cell_type']. Add the column to the"
            " files, or choose labels.source `disco_wnn` or `none`."
        )
        raise DataError(message)
    empty = cells["cell_type"].isna() | (cells["cell_type"].astype(str).str.strip() == "")
    if empty.any():
        message = (
            f"{empty.sum()} of {len(cells)} cells have no given cell_type (first:"
            f" {cells.index[empty][0]}). Label or remove them."
        )
        raise DataError(message)


def _inputs(
    parts: Sequence[MultiomeRows], samples: Sequence[Path | str], labels: Sequence[Path | str]
) -> pd.DataFrame:
    table = pd.DataFrame(
        {"n_cells": list(map(len, parts)), "cells_sha256": list(map(file_hash, samples))},
        index=pd.Index(list(map(_name, parts)), name="sample"),
    )
    return table.assign(labels_sha256=list(map(file_hash, labels)) or "")


def _name(sample: MultiomeRows) -> str:
    return str(sample.obs["sample"].iloc[0])
