"""Give each cluster the cell type whose profile it follows best."""

from snakemake.iocontainers import Snakemake

from epifoundation.config import LabelConfig
from epifoundation.contracts import LABELS
from epifoundation.data.labels import label_samples
from epifoundation.data.profiles import read_profiles
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        labels = label_samples(
            snakemake.input.cells,
            snakemake.input.get("rna_clusters", []),
            read_profiles(snakemake.input.profiles),
            [snakemake.params.disco_atlas],
            LabelConfig(**snakemake.params.labels),
        )
        LABELS.write(labels, snakemake.output.labels)
