"""Draw Figure 3 or 6: softmax scores of the test cells by type."""

from snakemake.iocontainers import Snakemake

from epifoundation.jobs import job
from epifoundation.reporting.figure_files import write_heatmap_figure

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        write_heatmap_figure(
            snakemake.params.datasets,
            snakemake.input.get("stores", []),
            snakemake.input.get("splits", []),
            snakemake.input.get("predictions", []),
            dict(snakemake.output.items()),
        )
