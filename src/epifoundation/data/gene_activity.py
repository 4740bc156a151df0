"""Gene activity from fragments: gene body and promoter, as Signac's GeneActivity."""

import logging
from collections.abc import Sequence
from pathlib import Path

import anndata as ad
import pandas as pd

from epifoundation.data.annotation import protein_coding, read_genes
from epifoundation.data.expression import log_normalize
from epifoundation.data.fragment_reader import Fragments, read_fragments
from epifoundation.data.fragments import RegionCounter

logger = logging.getLogger(__name__)

UPSTREAM_BP = 2_000  # Signac GeneActivity: extend.upstream
MAX_WIDTH_BP = 500_000  # Signac GeneActivity: max.width, before extension


def gene_activity(
    fragments: Fragments, annotation: Path | str, barcodes: Sequence[str], *, threads: int = 1
) -> ad.AnnData:
    """Return integer counts of barcodes × protein-coding genes, not normalised.

    An entry counts the barcode's fragments that overlap the gene's body or the 2 kb upstream of it
    (Signac 1.8.0, GeneActivity with default arguments). Genes follow the GTF's order; those on
    chromosomes without fragments are dropped. `var` has gene_id, gene_type, chrom and the extended
    start, end (0-based, half-open), indexed by unique gene name. Of genes with identical regions
    Signac names all after the first; here each keeps its own name.
    """
    regions = activity_regions(read_genes(annotation), annotation)
    counter = RegionCounter(regions, n_barcodes=len(barcodes))
    for chunk in read_fragments(fragments, barcodes, threads=threads):
        counter.add(chunk)
    var = regions.set_index("gene_name").rename_axis(None)
    return counter.named(fragments, barcodes, var, keep_absent=False)


def log_normalized(activity: ad.AnnData) -> ad.AnnData:
    """Return X as log1p of counts per 10,000 of the cell, float64, and counts in `layers`.

    Seurat's NormalizeData on the gene activity, as the paper compares with (B.2.2).
    """
    normalized = activity.copy()
    normalized.layers["counts"] = activity.X
    normalized.X = log_normalize(activity.X)
    return normalized


def activity_regions(genes: pd.DataFrame, where: Path | str = "the annotation") -> pd.DataFrame:
    """Return the extended regions of the protein-coding genes narrower than 500 kb."""
    coding = protein_coding(genes, where)
    kept = coding[coding["end"] - coding["start"] < MAX_WIDTH_BP].reset_index(drop=True)
    forward = kept["strand"] != "-"
    start = (kept["start"] - UPSTREAM_BP * forward.astype(int)).clip(lower=0)
    end = kept["end"] + UPSTREAM_BP * (~forward).astype(int)
    logger.info("%d of %d protein-coding genes are under 500 kb", len(kept), len(coding))
    columns = {"start": start, "end": end}
    return kept.assign(**columns)[["gene_id", "gene_name", "gene_type", "chrom", "start", "end"]]
