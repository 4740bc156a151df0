"""Give each cluster the cell type whose profile it follows best."""

from snakemake.iocontainers import Snakemake

from epifoundation.config import LabelConfig
from epifoundation.contracts import CLUSTERS, LABELS
from epifoundation.data.labels import label_by_source
from epifoundation.data.profiles import read_profiles
from epifoundation.jobs import job
from epifoundation.multiome import read_multiome

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        labels = label_by_source(
            read_multiome(snakemake.input.clustered, needs_obs=("cluster",)),
            CLUSTERS.read(snakemake.input.rna_clusters),
            read_profiles(snakemake.input.profiles),
            snakemake.params.disco_atlas,
            LabelConfig(**snakemake.params.labels),
        )
        first, second = snakemake.params.sources
        LABELS.write(labels[first], snakemake.output.labels)
        LABELS.write(labels[second], snakemake.output.compared)
