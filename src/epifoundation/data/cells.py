"""The cells of one sample as a multiome: who they are, their counts, their metrics."""

import logging
from pathlib import Path

import anndata as ad
import mudata as md
import pandas as pd

from epifoundation.config import QcConfig
from epifoundation.data.criteria import filter_cells, qc_alternatives
from epifoundation.data.imports import pair
from epifoundation.data.qc import rna_metrics, row_sums
from epifoundation.files import whole
from epifoundation.multiome import multiome
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
    obs = pd.concat([obs, cells.drop(columns="barcode")], axis=1).set_axis(names, axis=0)
    for part in (rna, atac):
        part.obs = pd.DataFrame(index=names)
    logger.info("%s: %d cells, %d genes, %d peaks", sample.sample, *rna.shape, atac.n_vars)
    return multiome(rna, atac, obs), funnel, alternatives


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


def write_counts(counts: ad.AnnData, path: Path | str) -> None:
    """Write an h5ad file, whole."""
    with whole(path) as partial:
        counts.write_h5ad(partial, compression="lzf")
