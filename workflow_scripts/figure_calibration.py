"""Draw how often the predicted type is right, by its score."""

from snakemake.iocontainers import Snakemake

from epifoundation.jobs import job
from epifoundation.reporting.figure_files import write_calibration_figure

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        write_calibration_figure(
            snakemake.params.datasets,
            snakemake.input.stores,
            snakemake.input.splits,
            snakemake.params.methods,
            snakemake.input.predictions,
            dict(snakemake.output.items()),
        )
