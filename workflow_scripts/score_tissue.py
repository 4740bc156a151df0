"""Score how well the tissue is told from pretrained embeddings, with and without batches."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import METRICS
from epifoundation.data.leaks import read_split
from epifoundation.data.store import TokenStore
from epifoundation.evaluation.scoring import score_tissue, subject_of
from epifoundation.hub import from_pretrained
from epifoundation.inference.predict import embed
from epifoundation.jobs import job
from epifoundation.training.dataset import rows_of
from epifoundation.training.loop import use_threads

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]), use_threads(snakemake.threads):
        store = TokenStore.open(snakemake.input.store)
        split = read_split(snakemake.input.split, store, snakemake.wildcards.protocol)
        rows, files = rows_of(store, split, "test"), snakemake.input
        models = {"": files.full, "_no_batch": files.no_batch}
        embeddings = {
            f"epifoundation_pretrained{name}": embed(from_pretrained(path), store, rows)
            for name, path in models.items()
        }
        subject = subject_of(snakemake.params.dataset, "ablation")
        metrics = score_tissue(store, split, embeddings, subject)
        METRICS.write(metrics, snakemake.output.metrics)
