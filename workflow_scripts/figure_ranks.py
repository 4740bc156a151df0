"""Draw how methods rank, metric by metric."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import METRICS
from epifoundation.jobs import job
from epifoundation.reporting.metric_figures import write_rank_figure

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        metrics = METRICS.read(snakemake.input.metrics)
        of_atlas = metrics[metrics["atlas"] == snakemake.wildcards.atlas]
        write_rank_figure(of_atlas, dict(snakemake.output.items()))
