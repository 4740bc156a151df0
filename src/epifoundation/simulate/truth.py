"""What was planted, as tables to compare a run with."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from epifoundation.simulate.archive import Library, barcode_text
from epifoundation.simulate.cells import depth_offset
from epifoundation.simulate.design import CELL_TYPES, SYNONYMS, Difficulty, Size, design_of
from epifoundation.simulate.planted import Planted


def cell_table(planted: Planted, libraries: Iterable[Library]) -> pd.DataFrame:
    """Return one row a cell: its names, type, and how many molecules it has."""
    tables = []
    for library in libraries:
        obs = planted.samples[library.name].obs
        n_cells = len(obs)
        in_regions = np.asarray(library.atac.sum(axis=1)).ravel()[:n_cells]
        tables.append(
            pd.DataFrame(
                {
                    "sample": obs["sample"],
                    "barcode": [f"{b}-1" for b in barcode_text(library.barcodes.gex[:n_cells])],
                    "atac_barcode": barcode_text(library.barcodes.atac[:n_cells]),
                    "dataset": obs["dataset"],
                    "tissue": obs["tissue"],
                    "batch": obs["batch"],
                    "donor": obs["donor"],
                    "cell_type": obs["cell_type"],
                    "lineage": obs["lineage"],
                    "is_doublet": obs["is_doublet"],
                    "partner_type": obs["partner_type"],
                    "n_fragments": in_regions + library.background[:n_cells],
                    "n_fragments_in_regions": in_regions,
                    "n_umis": np.asarray(library.rna.sum(axis=1)).ravel()[:n_cells],
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def region_table(planted: Planted, size: Size, difficulty: Difficulty) -> pd.DataFrame:
    """Return regions with the probability of being seen accessible in a typical cell of a type."""
    programme = planted.programme
    log_odds = programme.region_base + programme.region_type
    n_regions = log_odds.shape[1]
    most = difficulty.saturation * n_regions
    typical = size.n_fragments * difficulty.in_regions / difficulty.copies
    wanted = np.full(len(log_odds), most * -np.expm1(-typical / most))
    probability = 1 / (1 + np.exp(-(log_odds + depth_offset(log_odds, wanted)[:, None])))
    table = planted.regions.copy()
    table["rare_only"] = programme.rare_only
    for cell_type, values in zip(CELL_TYPES, probability, strict=True):
        table[f"probability:{cell_type}"] = values.round(5)
    return table


def link_table(planted: Planted) -> pd.DataFrame:
    """Return planted links: place of the region, the gene it drives, how far and how strongly."""
    links = planted.programme.links
    regions = planted.regions.loc[links["region"], ["chrom", "start", "end"]].reset_index(drop=True)
    genes = planted.annotation.genes.loc[links["gene"], ["gene_id", "gene_name"]]
    details = links[["distance_bp", "weight", "skips_nearest"]].reset_index(drop=True)
    return pd.concat([regions, genes.reset_index(drop=True), details], axis=1)


def sample_table(planted: Planted) -> pd.DataFrame:
    """Return facts of each sample: layout of its barcode read, lanes, depth."""
    designs = [design_of(name) for name in planted.samples]
    columns = ["name", "dataset", "tissue", "batch", "donor", "disco_atlas", "layout", "n_lanes"]
    rows = [{c: getattr(d, c) for c in columns} | {"depth_factor": d.depth} for d in designs]
    return pd.DataFrame(rows).rename(columns={"name": "sample"})


def synonym_table() -> pd.DataFrame:
    """Return the names that the reference table uses for planted types in single atlases."""
    rows = [(atlas, name, synonym) for (atlas, name), synonym in SYNONYMS.items()]
    return pd.DataFrame(rows, columns=["disco_atlas", "cell_type", "synonym"])
