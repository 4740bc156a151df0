"""Fine-tune a pretrained model for the cell types of a data set."""

from pathlib import Path

from snakemake.iocontainers import Snakemake

from epifoundation.config import TrainConfig
from epifoundation.contracts import SPLIT
from epifoundation.data.store import TokenStore
from epifoundation.hub import from_pretrained
from epifoundation.jobs import job
from epifoundation.training.finetune import finetune_cell_type
from epifoundation.training.loop import use_threads

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]), use_threads(snakemake.threads):
        model = finetune_cell_type(
            from_pretrained(snakemake.input.pretrained),
            TokenStore.open(snakemake.input.store),
            SPLIT.read(snakemake.input.split),
            TrainConfig(**snakemake.params.train),
            seed=int(snakemake.wildcards.seed),
            checkpoint=Path(snakemake.params.checkpoint),
        )
        model.save(snakemake.output.model)
