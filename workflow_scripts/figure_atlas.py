"""Draw Figure 1: all cells of an atlas by tissue and by type."""

from snakemake.iocontainers import Snakemake

from epifoundation.jobs import job
from epifoundation.reporting.figure_files import write_atlas_figure

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        write_atlas_figure(
            snakemake.input.store, snakemake.input.embedding, dict(snakemake.output.items())
        )
