"""Fetch and verify the files of a manifest, and make FASTQ of those that are none."""

from snakemake.iocontainers import Snakemake

from epifoundation.acquire.content import read_lists
from epifoundation.acquire.download import download
from epifoundation.align.barcodes import packaged_whitelist
from epifoundation.config import load_config
from epifoundation.contracts import MANIFEST, READS
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        # what cannot change the result stays out of params, where a change reruns the rule
        settings = load_config(snakemake.config).acquire
        lists = read_lists(
            snakemake.input.whitelist_gex or packaged_whitelist("gex"),
            snakemake.input.whitelist_atac or packaged_whitelist("atac"),
        )
        manifest = MANIFEST.read(snakemake.input.manifest)
        output = snakemake.output
        reads = download(manifest, output.fastq, settings, lists=lists, threads=snakemake.threads)
        READS.write(reads, output.reads)
