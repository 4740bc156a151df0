"""Join the samples of a data set to one labelled multiome."""

from snakemake.iocontainers import Snakemake

from epifoundation.contracts import LABELS
from epifoundation.data.assembly import assemble
from epifoundation.jobs import job
from epifoundation.multiome import read_multiome, write_multiome

snakemake: Snakemake

NEEDS_OBS = ("sample", "batch", "tissue", "donor")

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        joined = assemble(
            [read_multiome(path, needs_obs=NEEDS_OBS) for path in snakemake.input.samples],
            [LABELS.read(path) for path in snakemake.input.labels],
            label_source=snakemake.params.label_source,
        )
        write_multiome(joined, snakemake.output.mdata)
