"""Name the types of the test cells and embed all cells of a data set."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import CELL_TYPE_PREDICTIONS
from epifoundation.data.leaks import read_split
from epifoundation.data.store import TokenStore
from epifoundation.files import whole
from epifoundation.hub import from_pretrained
from epifoundation.inference.precision import on_device
from epifoundation.inference.predict import embed_all, predict_cell_types
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
        predictions = predict_cell_types(model, store, test, crops=crops)
        embeddings = embed_all(model, store, crops=crops)
        CELL_TYPE_PREDICTIONS.write(predictions, snakemake.output.annotation)
        with whole(snakemake.output.integration) as partial:
            embeddings.to_parquet(partial, index=False)
