"""Fine-tune a pretrained model for the expression levels of a data set."""

from snakemake.iocontainers import Snakemake

from epifoundation.config import ExecutionConfig, FinetuneConfig
from epifoundation.data.leaks import read_split
from epifoundation.data.store import TokenStore
from epifoundation.hub import from_pretrained
from epifoundation.jobs import job
from epifoundation.training.finetune import finetune_expression
from epifoundation.training.loop import resumable, usable

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]), resumable(snakemake.params.folder, snakemake.threads) as folder:
        machine = usable(ExecutionConfig(**snakemake.config["training"]))
        store = TokenStore.open(snakemake.input.store, every_byte=True)
        split = read_split(
            *(snakemake.input.split, store, snakemake.wildcards.protocol),
            pretrained=snakemake.input.pretrained,
            test_cells_allowed=snakemake.params.test_cells_allowed,
        )
        model = finetune_expression(
            from_pretrained(snakemake.input.pretrained),
            store,
            split,
            FinetuneConfig(**snakemake.params.train),
            machine,
            n_bins=snakemake.params.n_bins,
            seed=int(snakemake.wildcards.seed),
            folder=folder,
        )
        model.save(snakemake.output.model)
