"""Make bwa's index."""

from snakemake.iocontainers import Snakemake

from epifoundation.acquire.indexes import index_bwa
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        index_bwa(snakemake.input.fasta, snakemake.params.prefix)
