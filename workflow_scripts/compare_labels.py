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
                source: [LABELS.read(path) for path in files[source]]
                for source in ("disco_wnn", "disco_rna")
            },
        )
        agreement, confusion = compare_sources(types)
        AGREEMENT.write(agreement, snakemake.output.agreement)
        CONFUSION.write(confusion, snakemake.output.confusion)
