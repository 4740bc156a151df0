"""Draw predicted against true levels of some genes."""

from snakemake.iocontainers import Snakemake

from epifoundation.data.vocabulary import Vocabulary
from epifoundation.jobs import job
from epifoundation.reporting.figure_files import write_genes_figure

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        write_genes_figure(
            snakemake.params.datasets,
            snakemake.input.stores,
            snakemake.input.splits,
            snakemake.input.predictions,
            Vocabulary.read(snakemake.input.vocabulary).genes,
            snakemake.params.shown_genes,
            dict(snakemake.output.items()),
            n_bins=snakemake.params.n_bins,
        )
