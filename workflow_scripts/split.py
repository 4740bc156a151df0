"""Divide the cells of a data set into train, validation and test."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import SPLIT
from epifoundation.data.leaks import check_split
from epifoundation.data.splits import split_by_protocol
from epifoundation.data.store import TokenStore
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        cells = TokenStore.open(snakemake.input.store).cells
        parts = split_by_protocol(
            cells,
            snakemake.wildcards.protocol,
            seed=int(snakemake.wildcards.seed),
            dataset=snakemake.wildcards.dataset,
            pretrained_donors=snakemake.params.pretrained_donors,
            **snakemake.params.atlas,
        )
        check_split(parts, cells, snakemake.wildcards.protocol, snakemake.output.split)
        SPLIT.write(parts, snakemake.output.split)
