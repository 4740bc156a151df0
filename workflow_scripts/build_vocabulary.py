"""Number the atlas's peaks, genes, chromosomes and batches."""

from snakemake.iocontainers import Snakemake

from epifoundation.data.vocabulary import build_vocabulary
from epifoundation.jobs import job
from epifoundation.multiome import read_multiome

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        atlas = read_multiome(snakemake.input.mdata, needs_obs=("batch",))
        build_vocabulary(atlas).write(snakemake.output.vocabulary)
