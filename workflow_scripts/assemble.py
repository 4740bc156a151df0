"""Join the samples of a data set to one labelled multiome."""

from snakemake.iocontainers import Snakemake

from epifoundation.data.assembly import write_atlas
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        write_atlas(
            snakemake.input.samples,
            snakemake.input.labels,
            snakemake.output.mdata,
            label_source=snakemake.params.label_source,
            config_hash=snakemake.params.config_hash,
        )
