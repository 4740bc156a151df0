"""Annotate the test cells of a data set with every control."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import SPLIT
from epifoundation.data.store import TokenStore
from epifoundation.evaluation.benchmark import annotate_controls
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        annotate_controls(
            TokenStore.open(snakemake.input.store),
            SPLIT.read(snakemake.input.split),
            dict(zip(snakemake.params.methods, snakemake.output, strict=True)),
            seed=int(snakemake.wildcards.seed),
        )
