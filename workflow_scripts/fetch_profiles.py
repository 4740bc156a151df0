"""Download the expression profiles of known cell types, and check that they are such."""

from snakemake.iocontainers import Snakemake

from epifoundation.acquire.transfer import fetch
from epifoundation.data.profiles import record_download
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        url = snakemake.params.url
        fetch(url, snakemake.output.profiles, retries=snakemake.params.retries)
        record_download(snakemake.output.profiles, url)
