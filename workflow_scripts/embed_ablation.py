"""Embed all cells of a data set with an ablated model."""

from snakemake.iocontainers import Snakemake

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
        model = from_pretrained(snakemake.input.model)
        on_device(model, snakemake.config["training"]["device"])
        store = TokenStore.open(snakemake.input.store)
        embeddings = embed_all(model, store, crops=snakemake.params.crops)
        with whole(snakemake.output.integration) as partial:
            embeddings.to_parquet(partial, index=False)
