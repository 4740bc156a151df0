"""Pretrain the model on the atlas."""

from snakemake.iocontainers import Snakemake

from epifoundation.config import ExecutionConfig, ModelConfig, PretrainConfig
from epifoundation.contracts import SPLIT
from epifoundation.data.store import TokenStore
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.jobs import job
from epifoundation.training.loop import resumable, usable
from epifoundation.training.pretraining_cells import pretrain_on

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]), resumable(snakemake.params.folder, snakemake.threads) as folder:
        machine = usable(ExecutionConfig(**snakemake.config["training"]))
        pretrain_on(
            TokenStore.open(snakemake.input.store, every_byte=True),
            SPLIT.read(snakemake.input.split),
            Vocabulary.read(snakemake.input.vocabulary),
            ModelConfig(**snakemake.params.model),
            PretrainConfig(**snakemake.params.train),
            machine,
            **snakemake.params.cells,
            seed=int(snakemake.wildcards.seed),
            folder=folder,
            start_from=snakemake.input.start_from or None,
            output=snakemake.output.model,
        )
