"""Cluster the cells of a sample by their RNA alone."""

from snakemake.iocontainers import Snakemake

from epifoundation.config import ClusterConfig, QcConfig
from epifoundation.contracts import CLUSTERS
from epifoundation.data.clusters import cluster_rna
from epifoundation.data.imports import read_rna
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        clusters = cluster_rna(
            read_rna(snakemake.input.rna, None),
            ClusterConfig(**snakemake.params.cluster),
            sample=snakemake.wildcards.sample,
            qc=QcConfig(**snakemake.params.qc) if snakemake.params.qc else None,
        )
        CLUSTERS.write(clusters, snakemake.output.clusters)
