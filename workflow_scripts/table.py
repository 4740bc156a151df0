"""Lay out one table of results from the metrics."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import METRICS
from epifoundation.jobs import job
from epifoundation.reporting.layouts import LAYOUTS
from epifoundation.reporting.page import lay_out, write_table
from epifoundation.reporting.tables import result_table

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        layout = LAYOUTS[int(snakemake.wildcards.number)]
        metrics = METRICS.read(snakemake.input.metrics)
        table = result_table(metrics, layout, comparable=snakemake.params.printed_comparable)
        write_table(table, lay_out(table, layout), dict(snakemake.output.items()))
