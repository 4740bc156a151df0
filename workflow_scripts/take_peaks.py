"""Take a given peak set as the peaks of an atlas."""

from snakemake.iocontainers import Snakemake

from epifoundation.data.peaks import PEAK_SUMMARY, frozen_peaks, write_peaks
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        peaks, summary = frozen_peaks(
            snakemake.input.bed, standard_chromosomes=snakemake.params.standard_chromosomes
        )
        write_peaks(peaks, snakemake.output.peaks)
        PEAK_SUMMARY.write(summary, snakemake.output.summary)
