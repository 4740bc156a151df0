"""Number the atlas's peaks, genes, chromosomes and batches."""

from snakemake.iocontainers import Snakemake

from epifoundation.data.multiome_rows import MultiomeRows
from epifoundation.data.vocabulary import build_vocabulary
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        atlas = MultiomeRows.open(snakemake.input.mdata, needs_obs=("batch",))
        build_vocabulary(atlas).write(snakemake.output.vocabulary)
