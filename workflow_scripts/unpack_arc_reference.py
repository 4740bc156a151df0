"""Unpack the 10x reference."""

from snakemake.iocontainers import Snakemake

from epifoundation.acquire.genome import unpack_arc_reference
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        unpack_arc_reference(snakemake.input.tarball, snakemake.output.reference)
