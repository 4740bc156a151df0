"""Label by the other source too, and compare the label sources of an atlas's samples."""

from snakemake.iocontainers import Snakemake

from epifoundation.config import LabelConfig
from epifoundation.contracts import AGREEMENT, CONFUSION, LABELS
from epifoundation.data.label_agreement import compare_files
from epifoundation.data.labels import label_samples
from epifoundation.data.profiles import read_profiles
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        files, params = snakemake.input, snakemake.params
        compared = label_samples(
            files.cells,
            files.get("rna_clusters", []),
            read_profiles(files.profiles),
            params.atlases,
            LabelConfig(**params.labels),
        )
        LABELS.write(compared, snakemake.output.compared)
        paths = dict(zip(params.sources, (files.labels, [snakemake.output.compared]), strict=True))
        agreement, confusion = compare_files(files.cells, params.datasets, paths, params.atlases)
        AGREEMENT.write(agreement, snakemake.output.agreement)
        CONFUSION.write(confusion, snakemake.output.confusion)
