"""Draw which types EpiFoundation takes for which."""

from snakemake.iocontainers import Snakemake

from epifoundation.jobs import job
from epifoundation.reporting.figure_files import write_confusion_figure

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        write_confusion_figure(
            snakemake.params.datasets,
            snakemake.input.stores,
            snakemake.input.splits,
            snakemake.input.predictions,
            dict(snakemake.output.items()),
        )
