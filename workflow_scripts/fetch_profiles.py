"""Download the expression profiles of known cell types."""

from snakemake.iocontainers import Snakemake

from epifoundation.acquire.transfer import fetch
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        fetch(
            snakemake.params.url,
            snakemake.output.profiles,
            retries=snakemake.params.retries,
        )
