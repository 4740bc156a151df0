"""Bring a sample's own fragments and RNA counts into the project's form."""

from snakemake.iocontainers import Snakemake

from epifoundation.data.annotation import read_genes
from epifoundation.data.cells import write_counts
from epifoundation.data.fragment_files import index_fragments
from epifoundation.data.imports import read_rna
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        genes = read_genes(snakemake.input.genes) if snakemake.input.genes else None
        write_counts(read_rna(snakemake.input.rna, genes), snakemake.output.rna)
        index_fragments(snakemake.input.fragments, snakemake.output.fragments)
