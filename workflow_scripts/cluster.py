"""Cluster the cells of a sample over both modalities."""

from snakemake.iocontainers import Snakemake

from epifoundation.config import ClusterConfig
from epifoundation.data.clusters import cluster_cells
from epifoundation.jobs import job
from epifoundation.multiome import read_multiome, write_multiome

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        cells = read_multiome(snakemake.input.cells)
        config = ClusterConfig(**snakemake.params.cluster)
        clustered = cluster_cells(cells, config, n_threads=snakemake.threads)
        write_multiome(clustered, snakemake.output.clustered)
