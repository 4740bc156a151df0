"""Give each cluster the cell type whose profile it follows best."""

from snakemake.iocontainers import Snakemake

from epifoundation.config import LabelConfig
from epifoundation.contracts import CLUSTERS, LABELS
from epifoundation.data.labels import label_clusters
from epifoundation.data.profiles import read_profiles
from epifoundation.jobs import job
from epifoundation.multiome import read_multiome

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        clusters = snakemake.input.clusters
        labels = label_clusters(
            read_multiome(snakemake.input.cells),
            read_profiles(snakemake.input.profiles),
            snakemake.params.disco_atlas,
            LabelConfig(**snakemake.params.labels),
            clusters=CLUSTERS.read(clusters) if clusters else None,
        )
        LABELS.write(labels, snakemake.output.labels)
