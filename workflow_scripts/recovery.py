"""Compare a run on simulated reads with what was planted."""

import pandas as pd
from snakemake.iocontainers import Snakemake

from epifoundation.contracts import LABELS, METRICS
from epifoundation.evaluation.recovery import RECOVERY, PlantedTruth, called_cells, recovery_table
from epifoundation.jobs import job
from epifoundation.simulate.design import RARE_TYPE, SISTERS

snakemake: Snakemake

if __name__ == "__main__":
    with job(log=snakemake.log[0]):
        files = snakemake.input
        table = recovery_table(
            PlantedTruth(
                cells=pd.read_csv(files.cells, sep="\t"),
                regions=pd.read_csv(files.regions, sep="\t"),
                synonyms=pd.read_csv(files.synonyms, sep="\t"),
                controls=pd.read_json(files.controls),
                sisters=SISTERS,
                rare_type=RARE_TYPE,
            ),
            called_cells(snakemake.params.samples, files.barcodes),
            pd.concat(pd.read_csv(f, sep="\t", header=None, comment="#") for f in files.peaks),
            pd.concat([LABELS.read(f) for f in files.labels]),
            METRICS.read(files.metrics),
        )
        RECOVERY.write(table, snakemake.output.recovery)
