"""All samples of a data set as one labelled multiome."""

import logging
from collections.abc import Sequence
from functools import reduce
from typing import Literal

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
from scipy import sparse

from epifoundation import __version__
from epifoundation.contracts import SCHEMA_VERSION
from epifoundation.data.expression import log_normalize
from epifoundation.errors import DataError
from epifoundation.multiome import PEAK_COLUMNS, counts_of, multiome

logger = logging.getLogger(__name__)

UNLABELLED = "unlabelled"
GENE_COLUMNS = ("gene_id", "chrom", "gene_type")
LabelSource = Literal["disco_wnn", "published", "none"]


def assemble(
    samples: Sequence[md.MuData],
    labels: Sequence[pd.DataFrame],
    *,
    label_source: LabelSource,
) -> md.MuData:
    """Return one multiome of all samples' cells, in the given order.

    `samples` are multiomes of counts with global obs sample, batch, tissue and donor; `labels` one
    LABELS table per sample for `disco_wnn`, else empty. Of the result, `rna.X` is log-normalised
    and `atac.X` binary; both have `layers["counts"]`. Peaks must be the same throughout; of genes
    those that every sample has are kept, in the order of the first.
    """
    peaks = _common_peaks(samples)
    genes = _common_genes(samples)
    rna = ad.AnnData(
        sparse.vstack([counts_of(s["rna"][:, genes.index]) for s in samples], format="csr"),
        var=genes,
    )
    atac = ad.AnnData(
        sparse.vstack([counts_of(s["atac"]) for s in samples], format="csr"), var=peaks
    )
    obs = _cells(samples, labels, label_source)
    for part in (rna, atac):
        part.obs_names = obs.index
        part.layers["counts"] = part.X.astype(np.int32)
    rna.X = log_normalize(rna.layers["counts"]).astype(np.float32)
    atac.X = (atac.layers["counts"] > 0).astype(np.float32)
    joined = multiome(rna, atac, obs)
    joined.uns["schema_version"] = SCHEMA_VERSION
    joined.uns["package_version"] = __version__
    joined.uns["label_source"] = label_source
    logger.info(
        "%d cells of %d samples, %d genes, %d peaks; cell types: %s",
        joined.n_obs,
        len(samples),
        len(genes),
        len(peaks),
        ", ".join(f"{name} {n}" for name, n in obs["cell_type"].value_counts().items()),
    )
    return joined


def _common_peaks(samples: Sequence[md.MuData]) -> pd.DataFrame:
    first = samples[0]["atac"].var[list(PEAK_COLUMNS)]
    for sample in samples[1:]:
        peaks = sample["atac"].var[list(PEAK_COLUMNS)]
        if len(peaks) != len(first) or (peaks.to_numpy() != first.to_numpy()).any():
            message = (
                f"samples {_name(samples[0])} and {_name(sample)} have different peaks"
                f" ({len(first)} and {len(peaks)}). All samples of an atlas are counted on one"
                " peak set; matrices with peaks of their own belong in an atlas of their own."
            )
            raise DataError(message)
    return pd.DataFrame(first)


def _common_genes(samples: Sequence[md.MuData]) -> pd.DataFrame:
    names = [pd.Index(sample["rna"].var_names) for sample in samples]
    shared = reduce(lambda one, other: one[one.isin(other)], names)
    if shared.empty:
        message = (
            f"samples {', '.join(map(_name, samples))} share no gene name (e.g."
            f" {', '.join(index[0] for index in names)})"
        )
        raise DataError(message)
    if any(len(index) != len(shared) for index in names):
        sizes = ", ".join(f"{_name(s)} {len(i)}" for s, i in zip(samples, names, strict=True))
        logger.info("%d genes are in every sample (%s); the others are dropped", len(shared), sizes)
    var = samples[0]["rna"].var
    return pd.DataFrame(var.loc[shared, [name for name in GENE_COLUMNS if name in var]])


def _cells(
    samples: Sequence[md.MuData], labels: Sequence[pd.DataFrame], source: LabelSource
) -> pd.DataFrame:
    cells: pd.DataFrame = pd.concat([sample.obs for sample in samples])
    if not cells.index.is_unique:
        repeated = cells.index[cells.index.duplicated()]
        message = f"{len(repeated)} cells are in two samples (first: {repeated[0]})"
        raise DataError(message)
    if source == "disco_wnn":
        cells = _with_labels(cells, labels)
    elif source == "published":
        _check_published(cells)
    else:
        cells["cell_type"] = UNLABELLED
    text = cells.select_dtypes(exclude=["number", "bool"]).columns
    return cells.assign(
        **{
            name: cells[name].astype(object).fillna("").astype(str).astype("category")
            for name in text
        }
    )


def _with_labels(cells: pd.DataFrame, labels: Sequence[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(labels).set_index("barcode")
    missing = ~cells.index.isin(table.index)
    if missing.any():
        message = (
            f"{missing.sum()} of {len(cells)} cells have no label (first:"
            f" {cells.index[missing][0]}). Rerun label."
        )
        raise DataError(message)
    table = table.loc[cells.index]
    return cells.assign(
        cell_type=table["cell_type"],
        label_score=table["score"],
        label_margin=table["margin"],
        label_runner_up=table["runner_up"],
        cluster=table["cluster"],
    )


def _check_published(cells: pd.DataFrame) -> None:
    if "cell_type" not in cells:
        message = (
            "labels.source is `published`, but no sample has obs['cell_type']. Add the column to"
            " the files, or choose labels.source `disco_wnn` or `none`."
        )
        raise DataError(message)
    empty = cells["cell_type"].isna() | (cells["cell_type"].astype(str).str.strip() == "")
    if empty.any():
        message = (
            f"{empty.sum()} of {len(cells)} cells have no published cell_type (first:"
            f" {cells.index[empty][0]}). Label or remove them."
        )
        raise DataError(message)


def _name(sample: md.MuData) -> str:
    return str(sample.obs["sample"].iloc[0])
