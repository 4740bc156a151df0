"""The cells of one sample as a multiome: who they are, their counts, their metrics."""

import logging
from pathlib import Path

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd

from epifoundation.config import ClusterConfig, QcConfig
from epifoundation.data.criteria import filter_cells, qc_alternatives
from epifoundation.data.imports import pair
from epifoundation.data.neighbors import MIN_CELLS
from epifoundation.data.qc import rna_metrics, row_sums
from epifoundation.errors import DataError
from epifoundation.files import whole
from epifoundation.multiome import counts_of, multiome
from epifoundation.samples import Sample

logger = logging.getLogger(__name__)


def cells_of_barcodes(
    rna: ad.AnnData,
    atac: ad.AnnData,
    metrics: pd.DataFrame,
    sample: Sample,
    qc: QcConfig | None,
) -> tuple[md.MuData, pd.DataFrame, pd.DataFrame]:
    """Return the cells that pass quality control, contracts.QC_FUNNEL and QC_ALTERNATIVES.

    `rna`, `atac` hold integer counts of the same barcodes in the same order; `metrics` a row for
    each. Global obs: sample, barcode, batch, tissue, donor, cell_type where published, and the
    metrics; index `<sample>#<barcode>`. Peaks and genes are all kept.
    """
    alternatives = qc_alternatives(metrics, qc)
    cells, funnel = filter_cells(metrics, qc, sample=sample.sample)
    kept = cells["barcode"].tolist()
    rna, atac = rna[kept].copy(), atac[kept].copy()
    published = rna.obs.reset_index(drop=True)
    obs = cell_obs(cells, published, sample)
    for part in (rna, atac):
        part.obs = pd.DataFrame(index=obs.index)
    logger.info("%s: %d cells, %d genes, %d peaks", sample.sample, *rna.shape, atac.n_vars)
    return multiome(rna, atac, obs), funnel, alternatives


def cell_obs(cells: pd.DataFrame, published: pd.DataFrame, sample: Sample) -> pd.DataFrame:
    """Return the global obs of cells: who they are, then their metrics, `cells` without barcode.

    `published` holds batch and cell_type where they are told, in the order of `cells`.
    """
    names = pd.Index((sample.sample + "#" + cells["barcode"]).to_numpy(dtype=object))
    obs = pd.DataFrame(
        {
            "sample": sample.sample,
            "barcode": cells["barcode"].to_numpy(dtype=object),
            "batch": sample.batch or published.get("batch", sample.sample),
            "tissue": sample.tissue,
            "donor": sample.donor,
        }
    )
    if "cell_type" in published:
        obs["cell_type"] = published["cell_type"].astype(str)
    return pd.concat([obs, cells.drop(columns="barcode")], axis=1).set_axis(names, axis=0)


def cells_of_matrices(
    rna: ad.AnnData,
    atac: ad.AnnData,
    sample: Sample,
    qc: QcConfig | None,
    *,
    mitochondrial: str,
) -> tuple[md.MuData, pd.DataFrame, pd.DataFrame]:
    """Return the cells of paired matrices, and both tables, as `cells_of_barcodes` does.

    Matrices tell UMIs, genes and ATAC counts in peaks of a barcode; of the six criteria only the
    four on these apply, which both tables say. Cells in two orders are matched; different cells are
    an error.
    """
    rna, atac = pair(rna, atac, where=f"sample {sample.sample}")
    metrics = pd.DataFrame(
        {
            "barcode": rna.obs_names.to_numpy(dtype=object),
            **rna_metrics(rna, mitochondrial),
            "n_atac_in_peaks": row_sums(atac),
        }
    )
    return cells_of_barcodes(rna, atac, metrics, sample, qc)


def paired_cells(
    rna: ad.AnnData, atac: ad.AnnData, *, where: str, common: bool = False
) -> md.MuData:
    """Return both as a multiome, in the order of `rna`; what obs holds becomes global.

    With `common` the barcodes that both have are kept; without, others are an error.
    """
    if common and len(both := rna.obs_names.intersection(atac.obs_names, sort=False)):
        logger.info("%s: %d barcodes in both, of %d and %d", where, len(both), len(rna), len(atac))
        rna, atac = rna[both].copy(), atac[both].copy()
    rna, atac = pair(rna, atac, where=where)
    obs = rna.obs.copy()
    for part in (rna, atac):
        part.obs = pd.DataFrame(index=rna.obs_names)
    return multiome(rna, atac, obs)


def check_clusterable(cells: md.MuData, cluster: ClusterConfig) -> None:
    """Raise DataError if cells, genes or peaks are too few to cluster; warn of empty cells."""
    samples = ", ".join(map(str, cells.obs["sample"].unique()[:3])) if "sample" in cells.obs else ""
    where = f"sample {samples}" if samples else "the cells"
    for name, feature in (("rna", "genes"), ("atac", "peaks")):
        counts = counts_of(cells[name])
        n_used = int((np.asarray(counts.sum(axis=0)).ravel() > 0).sum())
        if n_used < 2:
            message = (
                f"{where}: {n_used:,} of {counts.shape[1]:,} {feature} have a count in any of the"
                f" {counts.shape[0]:,} cells, and clustering needs two at least. Check the counts."
            )
            raise DataError(message)
        empty = np.flatnonzero(np.asarray(counts.sum(axis=1)).ravel() == 0)
        if len(empty):
            logger.warning(
                "%s: %s of %s cells have no %s count (first: %s); they are clustered on the rest",
                *(where, f"{len(empty):,}", f"{cells.n_obs:,}", name, cells.obs_names[empty[0]]),
            )
    if cells.n_obs < MIN_CELLS:
        message = (
            f"{where}: {cells.n_obs} cells are too few to cluster, even with small_samples. Leave"
            " the sample out, or relax qc."
        )
        raise DataError(message)
    if cells.n_obs < cluster.neighbor_range and not cluster.small_samples:
        message = (
            f"{where}: {cells.n_obs:,} cells are fewer than the {cluster.neighbor_range:,}"
            " candidates per modality that WNN needs (cluster.neighbor_range). With"
            " cluster.small_samples: true (--small-samples) it takes as many as there are, which"
            " departs from Seurat; or leave the sample out."
        )
        raise DataError(message)
    if cells.n_obs <= cluster.n_pcs:
        logger.warning(
            "%s: %d cells give at most %d components, not n_pcs: %d; clusters of so few cells mean"
            " little",
            *(where, cells.n_obs, cells.n_obs - 1, cluster.n_pcs),
        )


def write_counts(counts: ad.AnnData, path: Path | str) -> None:
    """Write an h5ad file, whole."""
    with whole(path) as partial:
        counts.write_h5ad(partial, compression="lzf")
