"""Write the report of the run."""

from pathlib import Path

from snakemake.iocontainers import Snakemake

from epifoundation.jobs import job
from epifoundation.reporting.report import ReportFiles, write_report

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        named = {
            part: dict(zip(names, snakemake.input.get(part, []), strict=True))
            for part, names in snakemake.params.names.items()
        }
        files = ReportFiles(
            **named,
            tables=list(snakemake.input.tables),
            metrics=snakemake.input.metrics,
            comparisons=snakemake.input.comparisons,
            recovery=snakemake.input.get("recovery"),
            benchmarks=Path(snakemake.params.benchmarks),
        )
        write_report(files, snakemake.params.samples, snakemake.params.cfg, snakemake.output.report)
