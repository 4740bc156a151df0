"""Lay out one table of results from the metrics."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import AGREEMENT, METRICS
from epifoundation.jobs import job
from epifoundation.reporting.formats import write_table
from epifoundation.reporting.layouts import LAYOUTS
from epifoundation.reporting.page import lay_out
from epifoundation.reporting.tables import result_table

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        layout = LAYOUTS[int(snakemake.wildcards.number)]
        compared = snakemake.input.get("agreements", [])
        pairs = zip(snakemake.params.atlases, compared, strict=True)
        table = result_table(
            METRICS.read(snakemake.input.metrics),
            layout,
            comparable=snakemake.params.printed_comparable,
            agreements={atlas: AGREEMENT.read(path) for atlas, path in pairs},
        )
        write_table(table, lay_out(table, layout), dict(snakemake.output.items()))
