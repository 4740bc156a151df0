"""Make bwa's index."""

from pathlib import Path

from snakemake.iocontainers import Snakemake

from epifoundation.acquire.indexes import index_bwa
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        prefix = Path(snakemake.output.index[0]).with_suffix("")
        index_bwa(snakemake.input.fasta, prefix)
