"""Write the RNA of a data set as CELLxGENE takes it."""

from snakemake.iocontainers import Snakemake

from epifoundation.data.cellxgene import NEEDS_OBS, read_gene_list, read_terms, write_cellxgene
from epifoundation.data.multiome_rows import MultiomeRows
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        write_cellxgene(
            MultiomeRows.open(snakemake.input.mdata, needs_obs=NEEDS_OBS),
            snakemake.output.cells,
            title=snakemake.params.title,
            sample_terms=read_terms(snakemake.input.get("sample_terms")),
            accepted_genes=read_gene_list(snakemake.input.get("genes")),
        )
