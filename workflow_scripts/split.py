"""Divide the cells of a data set into train, validation and test."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import SPLIT
from epifoundation.data.splits import split_cells
from epifoundation.data.store import TokenStore
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        cells = TokenStore.open(snakemake.input.store).cells["cell"]
        parts = split_cells(
            cells,
            seed=int(snakemake.wildcards.seed),
            dataset=snakemake.wildcards.dataset,
            **snakemake.params.atlas,
        )
        SPLIT.write(parts, snakemake.output.split)
