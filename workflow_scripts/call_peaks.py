"""Call the peaks of an atlas on its fragments."""

from snakemake.iocontainers import Snakemake

from epifoundation.config import PeakConfig
from epifoundation.contracts import PEAK_SUMMARY
from epifoundation.data.groups import cluster_groups
from epifoundation.data.intervals import read_chrom_sizes
from epifoundation.data.peaks import call_peaks, write_peaks
from epifoundation.data.regions import read_bed
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        clusters, sizes = snakemake.input.clusters, snakemake.input.chrom_sizes
        peaks, summary = call_peaks(
            snakemake.input.fragments,
            PeakConfig(**snakemake.params.peaks),
            standard_chromosomes=snakemake.params.standard_chromosomes,
            blacklist=read_bed(snakemake.input.blacklist),
            chrom_sizes=read_chrom_sizes(sizes) if sizes else None,
            names=snakemake.params.samples,
            groups=cluster_groups(clusters, snakemake.params.samples) if clusters else None,
            threads=snakemake.threads,
        )
        write_peaks(peaks, snakemake.output.peaks)
        PEAK_SUMMARY.write(summary, snakemake.output.summary)
