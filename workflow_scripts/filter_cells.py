"""Keep the barcodes of a sample that are cells, with both their counts."""

import anndata as ad
from snakemake.iocontainers import Snakemake

from epifoundation.config import QcConfig
from epifoundation.contracts import BARCODE_METRICS, QC_ALTERNATIVES, QC_FUNNEL
from epifoundation.data.annotation import read_genes
from epifoundation.data.cells import cells_of_barcodes
from epifoundation.data.imports import read_rna
from epifoundation.jobs import job
from epifoundation.multiome import write_multiome
from epifoundation.samples import Sample

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        genes = read_genes(snakemake.input.genes) if snakemake.input.genes else None
        cells, funnel, alternatives = cells_of_barcodes(
            read_rna(snakemake.input.rna, genes),
            ad.read_h5ad(snakemake.input.counts),
            BARCODE_METRICS.read(snakemake.input.metrics),
            Sample(**snakemake.params.sample),
            QcConfig(**snakemake.params.qc) if snakemake.params.qc else None,
        )
        write_multiome(cells, snakemake.output.cells)
        QC_FUNNEL.write(funnel, snakemake.output.funnel)
        QC_ALTERNATIVES.write(alternatives, snakemake.output.alternatives)
