"""Join the metrics of all data sets: the only source of the tables."""

import pandas as pd
from snakemake.iocontainers import Snakemake

from epifoundation.contracts import METRICS
from epifoundation.evaluation.refused import refused_rows
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        parts = [METRICS.read(path) for path in snakemake.input]
        parts += refused_rows(snakemake.params.refused)
        METRICS.write(pd.concat(parts, ignore_index=True), snakemake.output.metrics)
