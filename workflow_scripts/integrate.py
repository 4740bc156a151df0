"""Embed all cells of a data set with one integration method."""

from snakemake.iocontainers import Snakemake

from epifoundation.data.leaks import read_split
from epifoundation.data.store import TokenStore
from epifoundation.evaluation.benchmark import integrate
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        store = TokenStore.open(snakemake.input.store)
        integrate(
            store,
            read_split(snakemake.input.split, store, snakemake.wildcards.protocol),
            snakemake.output.embedding,
            method=snakemake.wildcards.method,
            protocol=snakemake.wildcards.protocol,
            seed=int(snakemake.wildcards.seed),
            liger_python=snakemake.params.liger_python,
        )
