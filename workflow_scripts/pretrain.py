"""Pretrain the model on the atlas."""

from pathlib import Path

from snakemake.iocontainers import Snakemake

from epifoundation.config import ModelConfig, TrainConfig
from epifoundation.contracts import SPLIT
from epifoundation.data.store import TokenStore
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.jobs import job
from epifoundation.training.loop import use_threads
from epifoundation.training.pretrain import pretrain

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]), use_threads(snakemake.threads):
        vocabulary = Vocabulary.read(snakemake.input.vocabulary)
        model = pretrain(
            TokenStore.open(snakemake.input.store, vocabulary=vocabulary),
            SPLIT.read(snakemake.input.split),
            vocabulary,
            ModelConfig(**snakemake.params.model),
            TrainConfig(**snakemake.params.train),
            variant=snakemake.wildcards.variant,
            seed=int(snakemake.wildcards.seed),
            checkpoint=Path(snakemake.params.checkpoint),
        )
        model.save(snakemake.output.model)
