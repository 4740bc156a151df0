"""Turn one sample's reads into Cell Ranger ARC's layout with the open engine."""

from pathlib import Path

from snakemake.iocontainers import Snakemake

from epifoundation.align.open_engine import align_open
from epifoundation.config import AlignConfig
from epifoundation.contracts import READS
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        align_open(
            READS.read(snakemake.input.reads),
            Path(snakemake.input.fastq),
            Path(snakemake.output.summary).parent,
            sample=snakemake.wildcards.sample,
            star_index=Path(snakemake.input.star),
            bwa_index=Path(snakemake.input.bwa[0]).with_suffix(""),
            genome=snakemake.params.genome,
            mitochondrial=snakemake.params.mitochondrial,
            config=AlignConfig(**snakemake.params.align),
            threads=snakemake.threads,
        )
