"""Call the peaks of an atlas on its pooled fragments."""

from snakemake.iocontainers import Snakemake

from epifoundation.config import PeakConfig
from epifoundation.data.peaks import PEAK_SUMMARY, call_peaks, write_peaks
from epifoundation.data.regions import read_bed
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        peaks, summary = call_peaks(
            snakemake.input.fragments,
            PeakConfig(**snakemake.params.peaks),
            standard_chromosomes=snakemake.params.standard_chromosomes,
            blacklist=read_bed(snakemake.input.blacklist),
        )
        write_peaks(peaks, snakemake.output.peaks)
        PEAK_SUMMARY.write(summary, snakemake.output.summary)
