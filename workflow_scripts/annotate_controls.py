"""Annotate the test cells of a data set with every control."""

from snakemake.iocontainers import Snakemake

from epifoundation.data.leaks import read_split
from epifoundation.data.store import TokenStore
from epifoundation.evaluation.benchmark import annotate_controls
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        store = TokenStore.open(snakemake.input.store)
        annotate_controls(
            store,
            read_split(snakemake.input.split, store, snakemake.wildcards.protocol),
            dict(zip(snakemake.params.methods, snakemake.output, strict=True)),
            seed=int(snakemake.wildcards.seed),
        )
