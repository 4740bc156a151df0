"""Pair a sample's own matrices as cells, with their published labels."""

from snakemake.iocontainers import Snakemake

from epifoundation.config import QcConfig
from epifoundation.contracts import QC_ALTERNATIVES, QC_FUNNEL
from epifoundation.data.annotation import read_genes
from epifoundation.data.cells import cells_of_matrices
from epifoundation.data.imports import read_atac, read_rna
from epifoundation.jobs import job
from epifoundation.multiome import write_multiome
from epifoundation.samples import Sample

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        genes = read_genes(snakemake.input.genes) if snakemake.input.genes else None
        cells, funnel, alternatives = cells_of_matrices(
            read_rna(snakemake.input.rna, genes),
            read_atac(snakemake.input.atac),
            Sample(**snakemake.params.sample),
            QcConfig(**snakemake.params.qc) if snakemake.params.qc else None,
            mitochondrial=snakemake.params.mitochondrial,
        )
        write_multiome(cells, snakemake.output.cells)
        QC_FUNNEL.write(funnel, snakemake.output.funnel)
        QC_ALTERNATIVES.write(alternatives, snakemake.output.alternatives)
