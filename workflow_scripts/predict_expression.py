"""Predict the expression level of every gene in the test cells of a data set."""

from snakemake.iocontainers import Snakemake

from epifoundation.data.leaks import read_split
from epifoundation.data.store import TokenStore
from epifoundation.files import whole
from epifoundation.hub import from_pretrained
from epifoundation.inference.precision import on_device
from epifoundation.inference.predict import expression_table
from epifoundation.jobs import job
from epifoundation.training.dataset import rows_of
from epifoundation.training.loop import use_threads

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]), use_threads(snakemake.threads):
        model = from_pretrained(snakemake.input.model)
        on_device(model, snakemake.config["training"]["device"])
        store = TokenStore.open(snakemake.input.store)
        split = read_split(snakemake.input.split, store, snakemake.wildcards.protocol)
        test, crops = rows_of(store, split, "test"), snakemake.params.crops
        levels = expression_table(model, store, test, crops=crops)
        with whole(snakemake.output.expression) as partial:
            levels.write_h5ad(partial)
