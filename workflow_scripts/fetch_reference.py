"""Fetch one file of the reference."""

from snakemake.iocontainers import Snakemake

from epifoundation.acquire.addresses import fetch_named
from epifoundation.config import load_config
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        retries = load_config(snakemake.config).acquire.retries
        url, md5 = snakemake.params.url, snakemake.params.md5
        fetch_named(url, snakemake.output.source, md5=md5, retries=retries)
