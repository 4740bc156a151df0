"""Pair a sample's own matrices as cells, with their published labels."""

from snakemake.iocontainers import Snakemake

from epifoundation.config import QcConfig
from epifoundation.contracts import QC_ALTERNATIVES, QC_FUNNEL
from epifoundation.data.annotation import read_genes
from epifoundation.data.paired_files import import_cells
from epifoundation.jobs import job
from epifoundation.samples import Sample

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        funnel, alternatives = import_cells(
            snakemake.input.rna,
            snakemake.input.atac,
            snakemake.output.cells,
            Sample(**snakemake.params.sample),
            QcConfig(**snakemake.params.qc) if snakemake.params.qc else None,
            read_genes(snakemake.input.genes) if snakemake.input.genes else None,
            mitochondrial=snakemake.params.mitochondrial,
        )
        QC_FUNNEL.write(funnel, snakemake.output.funnel)
        QC_ALTERNATIVES.write(alternatives, snakemake.output.alternatives)
