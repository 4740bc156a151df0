"""Fetch a file that the sample sheet names by URL."""

from snakemake.iocontainers import Snakemake

from epifoundation.acquire.addresses import fetch_named
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        retries = snakemake.params.retries
        fetch_named(snakemake.params.url, snakemake.output.source, retries=retries)
