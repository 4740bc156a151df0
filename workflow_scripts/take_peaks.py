"""Take a given peak set as the peaks of an atlas."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import PEAK_SUMMARY
from epifoundation.data.given_peaks import frozen_peaks
from epifoundation.data.intervals import read_chrom_sizes
from epifoundation.data.peaks import write_peaks
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        sizes = snakemake.input.chrom_sizes
        peaks, summary = frozen_peaks(
            snakemake.input.bed,
            standard_chromosomes=snakemake.params.standard_chromosomes,
            chrom_sizes=read_chrom_sizes(sizes) if sizes else None,
        )
        write_peaks(peaks, snakemake.output.peaks)
        PEAK_SUMMARY.write(summary, snakemake.output.summary)
