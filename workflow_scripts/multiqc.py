"""Write the quality control of all samples for MultiQC."""

from snakemake.iocontainers import Snakemake

from epifoundation.jobs import job
from epifoundation.reporting.multiqc import write_multiqc

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        funnels = dict(zip(snakemake.params.names, snakemake.input.funnels, strict=True))
        write_multiqc(funnels, dict(snakemake.output.items()))
