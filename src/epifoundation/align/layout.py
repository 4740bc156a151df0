"""The files of Cell Ranger ARC's `outs/` that later steps read, written by the open engine.

What differs from Cell Ranger's: the h5 files hold Gene Expression only, since peaks are called on
the pooled samples later; the raw matrix and the metrics list the barcodes seen with at least one
UMI or fragment, not the whole list; in per_barcode_metrics.csv `excluded_reason` is never 2 (low
targeting), since no peaks are called per sample, and columns of `UNKNOWN` are empty.
"""

import csv
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from epifoundation import __version__
from epifoundation.align.atac import AtacReads
from epifoundation.align.barcodes import Whitelist
from epifoundation.align.gex import GeneCounts

OUTS = (
    "filtered_feature_bc_matrix.h5",
    "raw_feature_bc_matrix.h5",
    "atac_fragments.tsv.gz",
    "atac_fragments.tsv.gz.tbi",
    "per_barcode_metrics.csv",
    "summary.csv",
)
FEATURE_TYPE = "Gene Expression"
METRIC_COLUMNS = [
    "barcode",
    "gex_barcode",
    "atac_barcode",
    "is_cell",
    "excluded_reason",
    "gex_raw_reads",
    "gex_mapped_reads",
    "gex_conf_intergenic_reads",
    "gex_conf_exonic_reads",
    "gex_conf_intronic_reads",
    "gex_conf_exonic_unique_reads",
    "gex_conf_exonic_antisense_reads",
    "gex_conf_exonic_dup_reads",
    "gex_exonic_umis",
    "gex_conf_intronic_unique_reads",
    "gex_conf_intronic_antisense_reads",
    "gex_conf_intronic_dup_reads",
    "gex_intronic_umis",
    "gex_conf_txomic_unique_reads",
    "gex_umis_count",
    "gex_genes_count",
    "atac_raw_reads",
    "atac_unmapped_reads",
    "atac_lowmapq",
    "atac_dup_reads",
    "atac_chimeric_reads",
    "atac_mitochondrial_reads",
    "atac_fragments",
    "atac_TSS_fragments",
    "atac_peak_region_fragments",
    "atac_peak_region_cutsites",
]
COUNTED_READS = "gex_conf_txomic_unique_reads"
# What rests on the sample's own peaks, or that STARsolo does not tell apart by exon and intron.
UNKNOWN = (
    "gex_conf_exonic_unique_reads",
    "gex_conf_exonic_dup_reads",
    "gex_exonic_umis",
    "gex_conf_intronic_unique_reads",
    "gex_conf_intronic_dup_reads",
    "gex_intronic_umis",
    "atac_peak_region_fragments",
    "atac_peak_region_cutsites",
)


def write_outs(
    folder: Path,
    *,
    sample: str,
    genome: str,
    whitelists: tuple[Whitelist, Whitelist],
    genes: GeneCounts,
    atac: AtacReads,
    is_cell: NDArray[np.bool_],
) -> None:
    """Write all files of `OUTS` but the fragments into `folder`.

    Arrays of `atac` and `is_cell` and the rows of `genes` are by line of the whitelists.
    """
    umis = np.asarray(genes.matrix.sum(axis=1)).ravel()
    seen = np.flatnonzero((umis > 0) | (atac.fragments > 0))
    cells = np.flatnonzero(is_cell)
    for name, lines in (("raw", seen), ("filtered", cells)):
        write_10x_h5(
            folder / f"{name}_feature_bc_matrix.h5",
            genes.matrix[lines],
            barcodes=[f"{barcode.decode()}-1" for barcode in whitelists[0].barcodes[lines]],
            genes=genes.genes,
            genome=genome,
        )
    metrics = barcode_metrics(seen, whitelists, genes, atac, is_cell)
    metrics.to_csv(folder / "per_barcode_metrics.csv", index=False)
    _write_summary(folder / "summary.csv", _summary(sample, genome, genes, atac, metrics))


def write_10x_h5(
    path: Path,
    counts: sparse.csr_matrix,
    *,
    barcodes: list[str],
    genes: pd.DataFrame,
    genome: str,
) -> None:
    """Write counts (barcodes × genes) as 10x's feature-barcode matrix, version 2 of the format."""
    counts = counts.sorted_indices()
    with h5py.File(path, "w") as file:
        file.attrs["filetype"] = "matrix"
        file.attrs["version"] = 2
        file.attrs["software_version"] = f"epifoundation-{__version__}"
        matrix = file.create_group("matrix")
        # genes × barcodes by columns are barcodes × genes by rows
        _put(matrix, "data", counts.data.astype(np.int32))
        _put(matrix, "indices", counts.indices.astype(np.int64))
        _put(matrix, "indptr", counts.indptr.astype(np.int64))
        _put(matrix, "shape", np.array(counts.shape[::-1], np.int32))
        _put(matrix, "barcodes", np.array(barcodes, "S"))
        features = matrix.create_group("features")
        _put(features, "_all_tag_keys", np.array(["genome", "interval"], "S"))
        _put(features, "id", genes["gene_id"].to_numpy().astype("S"))
        _put(features, "name", genes["gene_name"].to_numpy().astype("S"))
        _put(features, "interval", genes["interval"].to_numpy().astype("S"))
        _put(features, "feature_type", np.array([FEATURE_TYPE] * len(genes), "S"))
        _put(features, "genome", np.array([genome] * len(genes), "S"))


def _put(group: h5py.Group, name: str, values: NDArray[np.generic]) -> None:
    compression = "gzip" if values.size > 1 else None
    group.create_dataset(name, data=values, compression=compression)


def barcode_metrics(
    lines: NDArray[np.int64],
    whitelists: tuple[Whitelist, Whitelist],
    genes: GeneCounts,
    atac: AtacReads,
    is_cell: NDArray[np.bool_],
) -> pd.DataFrame:
    """Return one row per barcode of `lines`, with Cell Ranger ARC's columns (`UNKNOWN`: empty)."""
    gex, other = (np.char.add(part.barcodes[lines].astype(str), "-1") for part in whitelists)
    reads = genes.reads.reindex(lines, fill_value=0)
    counts = genes.matrix[lines]
    annotated = reads[["exonic", "intronic", "exonicAS", "intronicAS"]].sum(axis=1)
    known = {
        "barcode": gex,
        "gex_barcode": gex,
        "atac_barcode": other,
        "is_cell": is_cell[lines].astype(int),
        "excluded_reason": atac.excluded[lines],
        "gex_raw_reads": reads["cbMatch"].to_numpy(),
        "gex_mapped_reads": (reads["genomeU"] + reads["genomeM"]).to_numpy(),
        "gex_conf_intergenic_reads": (reads["genomeU"] - annotated).clip(lower=0).to_numpy(),
        "gex_conf_exonic_reads": reads["exonic"].to_numpy(),
        "gex_conf_intronic_reads": reads["intronic"].to_numpy(),
        "gex_conf_exonic_antisense_reads": reads["exonicAS"].to_numpy(),
        "gex_conf_intronic_antisense_reads": reads["intronicAS"].to_numpy(),
        "gex_conf_txomic_unique_reads": reads["countedU"].to_numpy(),
        "gex_umis_count": np.asarray(counts.sum(axis=1)).ravel(),
        "gex_genes_count": np.diff(counts.indptr),
        "atac_raw_reads": atac.raw[lines],
        "atac_unmapped_reads": atac.unmapped[lines],
        "atac_lowmapq": atac.low_quality[lines],
        "atac_dup_reads": atac.duplicates[lines],
        "atac_chimeric_reads": atac.chimeric[lines],
        "atac_mitochondrial_reads": atac.mitochondrial[lines],
        "atac_fragments": atac.fragments[lines],
        "atac_TSS_fragments": atac.tss[lines],
    }
    return pd.DataFrame(known).reindex(columns=METRIC_COLUMNS)


def _summary(
    sample: str, genome: str, genes: GeneCounts, atac: AtacReads, metrics: pd.DataFrame
) -> dict[str, str | int | float]:
    cells = metrics[metrics["is_cell"] == 1]
    n_cells, n_fragments = max(len(cells), 1), int(atac.fragments.sum())
    usable = n_fragments + int(atac.duplicates.sum())
    counted, umis = (metrics[name] for name in (COUNTED_READS, "gex_umis_count"))
    return {
        "Sample ID": sample,
        "Genome": genome,
        "Pipeline version": f"epifoundation-open-{__version__}",
        "Estimated number of cells": len(cells),
        "ATAC Sequenced read pairs": atac.n_read,
        "ATAC Valid barcodes": int(atac.raw.sum()) / atac.n_read,
        "ATAC Unmapped read pairs": int(atac.unmapped.sum()) / atac.n_read,
        "ATAC Non-nuclear read pairs": int(atac.mitochondrial.sum()) / atac.n_read,
        "ATAC Confidently mapped read pairs": usable / atac.n_read,
        "ATAC Percent duplicates": int(atac.duplicates.sum()) / max(usable, 1),
        "ATAC Mean raw read pairs per cell": atac.n_read / n_cells,
        "ATAC Fraction of high-quality fragments in cells": int(cells["atac_fragments"].sum())
        / n_fragments,
        "ATAC Fraction of high-quality fragments overlapping TSS": int(atac.tss.sum())
        / n_fragments,
        "ATAC Median high-quality fragments per cell": cells["atac_fragments"].median(),
        "GEX Sequenced read pairs": genes.n_read,
        "GEX Valid barcodes": int(genes.reads["cbMatch"].sum()) / genes.n_read,
        "GEX Percent duplicates": 1 - int(umis.sum()) / max(int(counted.sum()), 1),
        "GEX Mean raw reads per cell": genes.n_read / n_cells,
        "GEX Fraction of transcriptomic reads in cells": int(cells[COUNTED_READS].sum())
        / max(int(counted.sum()), 1),
        "GEX Median UMI counts per cell": cells["gex_umis_count"].median(),
        "GEX Median genes per cell": cells["gex_genes_count"].median(),
    }


def _write_summary(path: Path, summary: dict[str, str | int | float]) -> None:
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(summary)
        writer.writerow(summary.values())
