"""Compare EpiFoundation with each other method, over test cells, donors and seeds."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import COMPARISONS, METRICS
from epifoundation.evaluation.comparisons import compare_methods, read_resampled, read_sizes
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        sets = snakemake.params.sets
        comparisons = compare_methods(
            METRICS.read(snakemake.input.metrics),
            read_resampled(sets, snakemake.input.resampled),
            read_sizes(sets, snakemake.input.splits),
        )
        COMPARISONS.write(comparisons, snakemake.output.comparisons)
