"""The planted truth: which regions are accessible in which type, and which genes they drive."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from epifoundation.simulate.annotation import MITOCHONDRION, Annotation
from epifoundation.simulate.design import (
    CELL_TYPES,
    LINEAGE_OF,
    LINEAGES,
    RARE_TYPE,
    SISTERS,
    Difficulty,
)
from epifoundation.simulate.regions import nearby_pairs

MITOCHONDRIAL_RATE = 0.04  # share of a cell's UMIs
FAR_BP = 10_000
FAR_SHARE = 0.55  # of the links, so that "at least half" holds at any seed
_SISTER_TYPES = tuple(name for pair in SISTERS for name in pair)
SINGLE_TYPES = tuple(name for name in CELL_TYPES if name not in _SISTER_TYPES)


@dataclass(frozen=True)
class Programme:
    """Log-odds of regions and log rates of genes; rows of `*_type` follow `CELL_TYPES`.

    Regions: `base` (n_regions,), `type` (n_types, n_regions), `programme` (n_programmes,
    n_regions) per standard deviation of a state, `gradient` (n_regions,) from end to end.
    Genes: the same names. `links`: region gene distance_bp weight skips_nearest.
    `rare_only` (n_regions,) marks regions mostly seen in the rare type.
    """

    region_base: np.ndarray
    region_type: np.ndarray
    region_programme: np.ndarray
    region_gradient: np.ndarray
    gene_base: np.ndarray
    gene_type: np.ndarray
    gene_programme: np.ndarray
    gene_gradient: np.ndarray
    links: pd.DataFrame
    rare_only: np.ndarray


def plant(
    annotation: Annotation, regions: pd.DataFrame, difficulty: Difficulty, rng: np.random.Generator
) -> Programme:
    """Draw the planted truth for the given genes and regions."""
    genes = annotation.genes
    n_regions, n_genes = len(regions), len(genes)
    region_type, region_gradient, rare_only = _region_effects(n_regions, difficulty, rng)
    region_base = rng.normal(0, difficulty.base_log_odds, n_regions)
    region_base += np.where(regions["is_promoter"], 0.2, 0)
    region_base[rare_only] += difficulty.rare_base
    links = _links(annotation, regions, difficulty, rng)
    region_programme = _programmes(n_regions, links, difficulty, rng)
    weights = np.zeros((n_regions, n_genes), np.float32)
    weights[links["region"], links["gene"]] = links["weight"]
    linked = np.unique(links["gene"])
    gene_type = difficulty.type_to_gene * region_type @ weights
    gene_type += _markers(np.setdiff1d(np.arange(n_genes), linked), n_genes, difficulty, rng)
    gene_type[:, genes["chrom"] == MITOCHONDRION] = 0
    gene_programme = region_programme @ weights
    _scale_programmes(gene_programme, gene_type, linked, difficulty)
    gene_base = rng.normal(0, 1.1, n_genes)
    gene_base[linked] += 0.6  # else depth hides what their regions do
    mitochondrial = (genes["chrom"] == MITOCHONDRION).to_numpy()
    total = np.exp(gene_base[~mitochondrial]).sum() * MITOCHONDRIAL_RATE
    gene_base[mitochondrial] = np.log(total / mitochondrial.sum())
    return Programme(
        region_base=region_base,
        region_type=region_type,
        region_programme=region_programme,
        region_gradient=region_gradient,
        gene_base=gene_base,
        gene_type=gene_type,
        gene_programme=gene_programme,
        gene_gradient=2 * difficulty.type_to_gene * region_gradient @ weights,
        links=links,
        rare_only=rare_only,
    )


def _region_effects(
    n_regions: int, difficulty: Difficulty, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-odds (n_types, n_regions), the gradient's, and which regions are the rare type's."""
    effects = np.zeros((len(CELL_TYPES), n_regions))
    order = rng.permutation(n_regions)
    used = 0

    def take(share: float) -> np.ndarray:
        nonlocal used
        n = max(2, round(share * n_regions))
        used += n
        return order[used - n : used]

    for lineage in LINEAGES:
        rows = np.array([LINEAGE_OF[name] == lineage for name in CELL_TYPES])
        columns = take(difficulty.lineage_share / len(LINEAGES))
        effects[np.ix_(rows, columns)] = np.log(difficulty.lineage_odds)
    rare_only = np.zeros(n_regions, bool)
    for name in SINGLE_TYPES:
        columns = take(difficulty.type_share)
        effects[CELL_TYPES.index(name), columns] = np.log(difficulty.type_odds)
        rare_only[columns] = name == RARE_TYPE
    for pair in SISTERS:
        for name in pair:
            columns = take(difficulty.sister_share / 2)
            effects[CELL_TYPES.index(name), columns] = np.log(difficulty.sister_odds)
    gradient = np.zeros(n_regions)
    columns = take(difficulty.gradient_share)
    gradient[columns] = np.log(difficulty.gradient_odds) * rng.choice([-1, 1], len(columns))
    return effects, gradient, rare_only


def _links(
    annotation: Annotation, regions: pd.DataFrame, difficulty: Difficulty, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw links: probability falls with distance, within the shares that skip and that are far."""
    genes = annotation.genes[annotation.genes["chrom"] != MITOCHONDRION]
    pairs = nearby_pairs(regions, genes, difficulty.link_reach_bp)
    n_links = round(difficulty.linked_share * difficulty.links_per_gene * len(genes))
    n_skip = round(difficulty.skip_share * n_links)
    skip = _draw(pairs[~pairs["is_nearest"]], n_skip, difficulty, rng)
    n_far = max(0, round(FAR_SHARE * n_links) - int((skip["distance_bp"] > FAR_BP).sum()))
    nearest = pairs[pairs["is_nearest"]]
    is_far = nearest["distance_bp"] > FAR_BP
    far = _draw(nearest[is_far], n_far, difficulty, rng)
    near = _draw(nearest[~is_far], n_links - n_skip - len(far), difficulty, rng)
    links = pd.concat([skip, far, near]).sort_values(["region", "gene"], ignore_index=True)
    links["weight"] = rng.uniform(0.6, 1.0, len(links))
    links["skips_nearest"] = ~links.pop("is_nearest")
    return links


def _draw(
    pairs: pd.DataFrame, n: int, difficulty: Difficulty, rng: np.random.Generator
) -> pd.DataFrame:
    weight = np.exp(-pairs["distance_bp"].to_numpy() / difficulty.link_decay_bp)
    chosen = rng.choice(len(pairs), min(n, len(pairs)), replace=False, p=weight / weight.sum())
    return pairs.iloc[np.sort(chosen)]


def _programmes(
    n_regions: int, links: pd.DataFrame, difficulty: Difficulty, rng: np.random.Generator
) -> np.ndarray:
    """Each linked region follows one programme, up or down."""
    loads = np.zeros((difficulty.n_programmes, n_regions))
    linked = np.unique(links["region"])
    programme = rng.integers(difficulty.n_programmes, size=len(linked))
    loads[programme, linked] = difficulty.programme_log_odds * rng.choice([-1, 1], len(linked))
    return loads


def _markers(
    free: np.ndarray, n_genes: int, difficulty: Difficulty, rng: np.random.Generator
) -> np.ndarray:
    """Log rates (n_types, n_genes) of marker genes, drawn from the genes no region drives."""
    effects = np.zeros((len(CELL_TYPES), n_genes))

    def raise_in(names: list[str], share: float) -> None:
        columns = rng.choice(free, max(1, round(share * n_genes)), replace=False)
        rows = np.array([CELL_TYPES.index(name) for name in names])
        effects[np.ix_(rows, columns)] += difficulty.marker_log_fold

    for lineage in LINEAGES:
        members = [name for name in CELL_TYPES if LINEAGE_OF[name] == lineage]
        raise_in(members, difficulty.lineage_genes)
    for name in SINGLE_TYPES:
        raise_in([name], difficulty.type_genes)
    for pair in SISTERS:
        for name in pair:
            raise_in([name], difficulty.sister_genes / 2)
    return effects


def _scale_programmes(
    gene_programme: np.ndarray, gene_type: np.ndarray, linked: np.ndarray, difficulty: Difficulty
) -> None:
    """Scale each linked gene's loads so that programmes make up the planted share of variance."""
    share = difficulty.programme_variance
    other = gene_type[:, linked].var(axis=0) + difficulty.gene_noise**2
    wanted = np.maximum(share / (1 - share) * other, 0.35**2)
    present = (gene_programme[:, linked] ** 2).sum(axis=0)
    gene_programme[:, linked] *= np.sqrt(wanted / np.maximum(present, 1e-12))
