"""Write the cells of a data set as tokens of the atlas's vocabulary."""

from snakemake.iocontainers import Snakemake

from epifoundation.data.multiome_rows import MultiomeRows
from epifoundation.data.store import CELL_COLUMNS
from epifoundation.data.tokens import write_store
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.jobs import job

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        cells = MultiomeRows.open(snakemake.input.mdata, needs_obs=CELL_COLUMNS)
        vocabulary = Vocabulary.read(snakemake.input.vocabulary)
        write_store(cells, vocabulary, snakemake.output.store)
