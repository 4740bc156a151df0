"""Write the simulated multiome."""

from pathlib import Path

from snakemake.iocontainers import Snakemake

from epifoundation.config import SimulateConfig
from epifoundation.jobs import job
from epifoundation.simulate import write_simulation

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        write_simulation(
            Path(snakemake.params.folder),
            SimulateConfig(**snakemake.params.simulate),
            threads=snakemake.threads,
        )
