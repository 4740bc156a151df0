"""Lay out Table 5 from the configuration."""

from snakemake.iocontainers import Snakemake

from epifoundation.jobs import job
from epifoundation.reporting.formats import write_table
from epifoundation.reporting.page import lay_out_settings
from epifoundation.reporting.settings import settings_table

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        table = settings_table(snakemake.params.sections)
        write_table(table, lay_out_settings(table), dict(snakemake.output.items()))
