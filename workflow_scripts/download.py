"""Fetch and verify the files of a manifest."""

from snakemake.iocontainers import Snakemake

from epifoundation.acquire.download import download
from epifoundation.config import load_config
from epifoundation.contracts import MANIFEST
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        # what cannot change the result stays out of params, where a change reruns the rule
        settings = load_config(snakemake.config).acquire
        manifest = MANIFEST.read(snakemake.input.manifest)
        download(manifest, snakemake.output.fastq, settings)
