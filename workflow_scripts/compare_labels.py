"""Compare the label sources of an atlas's samples."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import AGREEMENT, CONFUSION, LABELS
from epifoundation.data.label_agreement import compare_sources, given_types, sources_of
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        files = snakemake.input
        types = sources_of(
            [given_types(path) for path in files.cells],
            snakemake.params.datasets,
            {
                source: [LABELS.read(path) for path in paths]
                for source, paths in zip(
                    snakemake.params.sources, (files.labels, files.compared), strict=True
                )
            },
        )
        agreement, confusion = compare_sources(types)
        AGREEMENT.write(agreement, snakemake.output.agreement)
        CONFUSION.write(confusion, snakemake.output.confusion)
