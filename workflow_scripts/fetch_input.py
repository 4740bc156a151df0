"""Fetch a file that the sample sheet names by URL."""

from snakemake.iocontainers import Snakemake

from epifoundation.acquire.transfer import fetch
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        fetch(snakemake.params.url, snakemake.output.source, retries=snakemake.params.retries)
