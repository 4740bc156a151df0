"""Turn one sample's reads into counts and fragments with Cell Ranger ARC."""

from pathlib import Path

from snakemake.iocontainers import Snakemake

from epifoundation.align.cellranger_arc import run_cellranger_arc
from epifoundation.contracts import READS
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        run_cellranger_arc(
            READS.read(snakemake.input.reads),
            Path(snakemake.input.fastq),
            Path(snakemake.output.summary).parent,
            sample=snakemake.wildcards.sample,
            reference=Path(snakemake.input.reference),
            program=snakemake.params.program,
            threads=snakemake.threads,
            memory_gib=snakemake.resources.mem_mb // 1024,
        )
