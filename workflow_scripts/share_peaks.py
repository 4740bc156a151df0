"""Take the peaks that the paired matrices of an atlas share."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import PEAK_SUMMARY
from epifoundation.data.given_peaks import peaks_of_matrices
from epifoundation.data.multiome_rows import MultiomeRows
from epifoundation.data.peaks import write_peaks
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        tables = [MultiomeRows.open(path).var("atac") for path in snakemake.input.cells]
        peaks, summary = peaks_of_matrices(tables, snakemake.params.samples)
        write_peaks(peaks, snakemake.output.peaks)
        PEAK_SUMMARY.write(summary, snakemake.output.summary)
