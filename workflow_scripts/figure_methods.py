"""Draw Figure 4 or 5: the test cells as each method embeds them."""

from snakemake.iocontainers import Snakemake

from epifoundation.jobs import job
from epifoundation.reporting.figure_files import write_method_figure

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        write_method_figure(
            snakemake.params.datasets,
            snakemake.input.get("stores", []),
            snakemake.input.get("splits", []),
            snakemake.params.methods,
            snakemake.input.get("embeddings", []),
            dict(snakemake.output.items()),
        )
