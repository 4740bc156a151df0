"""Accessible regions: at TSSs and far from genes."""

import numpy as np
import pandas as pd

from epifoundation.simulate.annotation import MITOCHONDRION, Annotation

PROMOTER_SHARE = 0.4
SPACING_BP = 500  # least gap between two regions
CLEAR_OF_TSS_BP = 900  # of a region that is no promoter
BIN_BP = 50


def place_regions(annotation: Annotation, n_regions: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return chrom, start, end, is_promoter of regions of 300-900 bp in genome order."""
    genes = annotation.genes[annotation.genes["chrom"] != MITOCHONDRION]
    names = annotation.chromosomes
    sizes = np.array([annotation.chrom_sizes[name] for name in names])
    n_promoters = int(PROMOTER_SHARE * n_regions)
    promoter = _shuffled(genes["chrom"].map(names.index), genes["tss"], rng)
    chromosome = rng.choice(len(names), 12 * n_regions, p=sizes / sizes.sum())
    distal = np.column_stack([chromosome, rng.integers(2_000, sizes[chromosome] - 2_000)])
    taken = [np.zeros(size // BIN_BP + 1, bool) for size in sizes]
    hidden = annotation.blacklist
    for name, start, end in zip(hidden["chrom"], hidden["start"], hidden["end"], strict=True):
        _mark(taken[names.index(name)], start - SPACING_BP, end + SPACING_BP)
    rows = _accept(promoter, n_promoters, taken, rng)
    for chrom, tss in promoter:
        _mark(taken[chrom], tss - CLEAR_OF_TSS_BP, tss + CLEAR_OF_TSS_BP)
    more = _accept(distal, n_regions - len(rows), taken, rng)
    placed = np.array(rows + more)
    order = np.lexsort((placed[:, 1], placed[:, 0]))
    return pd.DataFrame(
        {
            "chrom": np.array(names, dtype=object)[placed[order, 0]],
            "start": placed[order, 1],
            "end": placed[order, 2],
            "is_promoter": order < len(rows),
        }
    )


def _shuffled(chromosome: pd.Series, position: pd.Series, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(np.column_stack([chromosome, position]))


def _mark(taken: np.ndarray, start: int, end: int) -> None:
    taken[max(0, start) // BIN_BP : max(0, end) // BIN_BP + 1] = True


def _accept(
    centres: np.ndarray, n: int, taken: list[np.ndarray], rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Return the first `n` intervals around `centres` (chromosome, position) that keep clear."""
    widths = rng.integers(300, 901, len(centres))
    rows: list[tuple[int, int, int]] = []
    for (chrom, centre), width in zip(centres.tolist(), widths.tolist(), strict=True):
        if len(rows) == n:
            break
        start, end = centre - width // 2, centre - width // 2 + width
        low, high = (start - SPACING_BP) // BIN_BP, (end + SPACING_BP) // BIN_BP + 1
        if start > SPACING_BP and not taken[chrom][low:high].any():
            _mark(taken[chrom], start, end)
            rows.append((chrom, start, end))
    return rows


def nearby_pairs(regions: pd.DataFrame, genes: pd.DataFrame, reach_bp: float) -> pd.DataFrame:
    """Return region, gene, distance_bp (centre to TSS) and is_nearest of all pairs in reach."""
    tables = []
    for chrom, members in regions.groupby("chrom", sort=False):
        here = genes[genes["chrom"] == chrom].sort_values("tss")
        tss = here["tss"].to_numpy()
        centre = ((members["start"] + members["end"]) // 2).to_numpy()
        low = np.searchsorted(tss, centre - reach_bp)
        n = np.searchsorted(tss, centre + reach_bp, side="right") - low
        row = np.repeat(np.arange(len(centre)), n)
        column = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + low[row]
        distance = np.abs(tss[column] - centre[row])
        nearest = np.full(len(centre), np.iinfo(np.int64).max)
        np.minimum.at(nearest, row, distance)
        tables.append(
            pd.DataFrame(
                {
                    "region": members.index.to_numpy()[row],
                    "gene": here.index.to_numpy()[column],
                    "distance_bp": distance,
                    "is_nearest": distance == nearest[row],
                }
            )
        )
    return pd.concat(tables, ignore_index=True)
