"""Score the embeddings of a data set on its test cells."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import METRICS
from epifoundation.data.leaks import read_split
from epifoundation.data.store import TokenStore
from epifoundation.evaluation.scoring import score_integration, subject_of
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        store = TokenStore.open(snakemake.input.store)
        metrics = score_integration(
            store,
            read_split(snakemake.input.split, store, snakemake.wildcards.protocol),
            dict(zip(snakemake.params.methods, snakemake.input.methods, strict=True)),
            subject_of(snakemake.params.dataset, "integration"),
            threads=snakemake.threads,
        )
        METRICS.write(metrics, snakemake.output.metrics)
