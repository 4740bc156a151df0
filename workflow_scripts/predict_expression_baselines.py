"""Predict the expression of the test cells of a data set with every baseline."""

from snakemake.iocontainers import Snakemake

from epifoundation.data.leaks import read_split
from epifoundation.data.store import TokenStore
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.evaluation.benchmark import predict_expression_baselines
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        store = TokenStore.open(snakemake.input.store)
        predict_expression_baselines(
            store,
            Vocabulary.read(snakemake.input.vocabulary),
            read_split(snakemake.input.split, store, snakemake.wildcards.protocol),
            dict(zip(snakemake.params.methods, snakemake.output, strict=True)),
            fragments=dict(zip(snakemake.params.samples, snakemake.input.fragments, strict=True)),
            annotation=snakemake.input.get("genes"),
            n_bins=snakemake.params.n_bins,
            seed=int(snakemake.wildcards.seed),
        )
