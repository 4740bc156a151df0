"""Count the fragments of a sample's barcodes in all peaks, and measure the barcodes."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import BARCODE_METRICS
from epifoundation.data.annotation import read_genes
from epifoundation.data.cells import write_counts
from epifoundation.data.imports import read_rna
from epifoundation.data.peak_files import known_sizes
from epifoundation.data.qc import count_and_measure
from epifoundation.data.regions import read_bed
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        genes = read_genes(snakemake.input.genes) if snakemake.input.genes else None
        counts, metrics = count_and_measure(
            snakemake.input.fragments,
            read_bed(snakemake.input.peaks),
            read_rna(snakemake.input.rna, genes),
            genes,
            read_bed(snakemake.input.blacklist),
            mitochondrial=snakemake.params.mitochondrial,
            threads=snakemake.threads,
            chromosome_sizes=known_sizes(snakemake.input.chrom_sizes),
        )
        write_counts(counts, snakemake.output.counts)
        BARCODE_METRICS.write(metrics, snakemake.output.metrics)
