"""A reference table as DISCO publishes it: gene symbols × `type--atlas`."""

import numpy as np
import pandas as pd

from epifoundation.simulate.design import CELL_TYPES, SAMPLES, SYNONYMS
from epifoundation.simulate.planted import Planted

NOISE = 0.15  # standard deviation of log expression, per gene and column
ABSENT_SHARE = 0.05  # genes of the annotation that the table lacks
N_FOREIGN = 200  # symbols of the table that the annotation lacks


def reference_profiles(planted: Planted, rng: np.random.Generator) -> pd.DataFrame:
    """Return `gene` and one column per type and atlas: log(1 + 10,000 × share of expression).

    Every atlas has all types, those that do not occur in its tissue too.
    """
    programme, genes = planted.programme, planted.annotation.genes
    rate = np.exp(programme.gene_base + programme.gene_type)
    share = rate / rate.sum(axis=1, keepdims=True)
    columns = {}
    for atlas in dict.fromkeys(sample.disco_atlas for sample in SAMPLES):
        for row, cell_type in enumerate(CELL_TYPES):
            noisy = share[row] * np.exp(rng.normal(0, NOISE, share.shape[1]))
            name = SYNONYMS.get((atlas, cell_type), cell_type)
            columns[f"{name}--{atlas}"] = np.log1p(1e4 * noisy)
    table = pd.DataFrame(columns)
    table.insert(0, "gene", genes["gene_name"])
    table = table[rng.random(len(table)) >= ABSENT_SHARE]
    foreign = pd.DataFrame(rng.exponential(0.3, (N_FOREIGN, len(columns))), columns=list(columns))
    foreign.insert(0, "gene", [f"OTHER{i + 1}" for i in range(N_FOREIGN)])
    table = pd.concat([table, foreign], ignore_index=True)
    return table.sample(frac=1, random_state=int(rng.integers(2**31))).round(5)
