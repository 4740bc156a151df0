"""Draw the loss of each training by epoch."""

from snakemake.iocontainers import Snakemake

from epifoundation.jobs import job
from epifoundation.reporting.curves import write_training_figure

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        models = dict(zip(snakemake.params.names, snakemake.input.models, strict=True))
        write_training_figure(models, dict(snakemake.output.items()))
