"""Embed all cells of a data set with the pretrained model."""

from snakemake.iocontainers import Snakemake

from epifoundation.data.leaks import read_split
from epifoundation.data.store import TokenStore
from epifoundation.files import whole
from epifoundation.hub import from_pretrained
from epifoundation.inference.precision import on_device
from epifoundation.inference.predict import embed_all
from epifoundation.jobs import job
from epifoundation.training.loop import use_threads

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]), use_threads(snakemake.threads):
        store = TokenStore.open(snakemake.input.store)
        read_split(
            *(snakemake.input.split, store, snakemake.wildcards.protocol),
            pretrained=snakemake.input.model,
            test_cells_allowed=snakemake.params.test_cells_allowed,
        )
        model = from_pretrained(snakemake.input.model)
        on_device(model, snakemake.config["training"]["device"])
        embeddings = embed_all(model, store, crops=snakemake.params.crops)
        with whole(snakemake.output.integration) as partial:
            embeddings.to_parquet(partial, index=False)
