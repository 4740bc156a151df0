"""Embed all cells of a data set with one integration method."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import SPLIT
from epifoundation.data.store import TokenStore
from epifoundation.evaluation.benchmark import integrate
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        integrate(
            TokenStore.open(snakemake.input.store),
            SPLIT.read(snakemake.input.split),
            snakemake.output.embedding,
            method=snakemake.wildcards.method,
            protocol=snakemake.wildcards.protocol,
            seed=int(snakemake.wildcards.seed),
            liger_python=snakemake.params.liger_python,
        )
