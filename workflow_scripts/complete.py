"""Fail where a method broke down, after everything else of a target is there."""

from pathlib import Path

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import METRICS
from epifoundation.evaluation.completeness import require_all
from epifoundation.files import whole
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        metrics = Path(snakemake.input.metrics)
        require_all(METRICS.read(metrics), results_dir=metrics.parent)
        with whole(snakemake.output[0]) as partial:
            partial.write_text("every method has a result\n")
