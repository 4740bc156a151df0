"""Give each cluster the cell type whose profile it follows best."""

from snakemake.iocontainers import Snakemake

from epifoundation.config import LabelConfig
from epifoundation.contracts import LABELS
from epifoundation.data.labels import label_clusters, read_profiles
from epifoundation.jobs import job
from epifoundation.multiome import read_multiome

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        clustered = read_multiome(snakemake.input.clustered, needs_obs=("cluster",))
        labels = label_clusters(
            clustered,
            read_profiles(snakemake.input.profiles),
            snakemake.params.disco_atlas,
            LabelConfig(**snakemake.params.labels),
        )
        LABELS.write(labels, snakemake.output.labels)
