"""Unpack the 10x reference."""

from pathlib import Path

from snakemake.iocontainers import Snakemake

from epifoundation.acquire.genome import check_md5, unpack_arc_reference
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        check_md5(Path(snakemake.input.tarball), snakemake.params.md5)
        unpack_arc_reference(snakemake.input.tarball, snakemake.output.reference)
