"""Make STAR's index."""

from snakemake.iocontainers import Snakemake

from epifoundation.acquire.indexes import index_star
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        index_star(
            snakemake.input.fasta,
            snakemake.input.gtf,
            snakemake.output.index,
            index_bases=snakemake.params.index_bases,
            threads=snakemake.threads,
        )
