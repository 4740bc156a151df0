"""Cells of a sample: their types, depths and states, and the counts these give."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from epifoundation.simulate.design import (
    CELL_TYPES,
    DEPTH_OF,
    GRADIENT_TYPE,
    LINEAGE_OF,
    Difficulty,
    SampleDesign,
    Size,
)
from epifoundation.simulate.programme import Programme

NEWTON_STEPS = 8


@dataclass(frozen=True)
class Cells:
    """Cells of one sample, in the order of `obs`; the last columns of a table follow its source.

    `obs`: sample batch tissue donor disco_atlas dataset cell_type lineage is_doublet partner_type
    atac_depth rna_depth gradient. `atac`, `rna`: counts (n_cells, n_regions | n_genes), CSR int32,
    ambient counts included. `log_odds` (n_cells, n_regions), float32: of a region seen accessible,
    without the effect of the cell's type; `ambient_rate` (n_cells,) fragments of the pool in
    regions. `pool_atac`, `pool_rna`: shares of the sample's pool, whence ambient molecules and
    empty barcodes come.
    """

    obs: pd.DataFrame
    atac: sparse.csr_matrix
    rna: sparse.csr_matrix
    log_odds: np.ndarray
    ambient_rate: np.ndarray
    pool_atac: np.ndarray
    pool_rna: np.ndarray


def draw_cells(
    sample: SampleDesign,
    size: Size,
    programme: Programme,
    difficulty: Difficulty,
    rng: np.random.Generator,
) -> Cells:
    """Draw the cells of a sample; doublets are cells with a second cell's counts added."""
    n_cells = max(2, round(sample.n_cells * size.cells))
    n_doublets = round(difficulty.doublet_share * n_cells)
    obs = _draw_obs(sample, size, n_cells + n_doublets, difficulty, rng)
    states = rng.normal(size=(len(obs), difficulty.n_programmes))
    log_odds = _log_odds(obs, states, programme, difficulty, rng)
    ambient_atac = rng.uniform(*difficulty.ambient_atac)
    own_atac, log_odds = _accessible(obs, log_odds, programme, ambient_atac, difficulty, rng)
    profiles = _expression(obs, states, programme, difficulty, rng)
    atac_depth = obs["atac_depth"].to_numpy()
    rna_depth = obs["rna_depth"].to_numpy()
    pool_atac = np.asarray(own_atac[:n_cells].sum(axis=0)).ravel() / own_atac[:n_cells].sum()
    pool_rna = rna_depth[:n_cells] @ profiles[:n_cells] / rna_depth[:n_cells].sum()
    ambient_rate = ambient_atac * difficulty.in_regions * atac_depth
    atac = own_atac + sample_pool(pool_atac, ambient_rate, rng)
    share = rng.uniform(*difficulty.ambient_rna)
    rates = rna_depth[:, None] * ((1 - share) * profiles + share * pool_rna)
    rna = sparse.csr_matrix(rng.poisson(rates).astype(np.int32))
    obs = _with_doublets(obs, n_cells, n_doublets)
    return Cells(
        obs=obs,
        atac=_fold_partners(atac, n_cells),
        rna=_fold_partners(rna, n_cells),
        log_odds=log_odds[:n_cells],
        ambient_rate=ambient_rate[:n_cells],
        pool_atac=pool_atac,
        pool_rna=pool_rna,
    )


def _draw_obs(
    sample: SampleDesign, size: Size, n: int, difficulty: Difficulty, rng: np.random.Generator
) -> pd.DataFrame:
    """Types in the shares of the design, not sampled, so that small types keep their number."""
    names, shares = zip(*sample.composition.items(), strict=True)
    exact = np.array(shares) * n
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact)[: n - counts.sum()]] += 1
    cell_type = rng.permutation(np.repeat(np.array(names), counts))
    deeper = sample.depth * np.array([DEPTH_OF.get(name, 1.0) for name in cell_type])
    rho = difficulty.depth_correlation
    depth = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=n)
    factor = deeper[:, None] * np.exp(difficulty.depth_sigma * depth)
    gradient = np.where(cell_type == GRADIENT_TYPE, rng.uniform(-0.5, 0.5, n), 0)
    return pd.DataFrame(
        {
            "sample": sample.name,
            "batch": sample.batch,
            "tissue": sample.tissue,
            "donor": sample.donor,
            "disco_atlas": sample.disco_atlas,
            "dataset": sample.dataset or "ALLTissue",
            "cell_type": cell_type,
            "lineage": [LINEAGE_OF[name] for name in cell_type],
            "atac_depth": size.n_fragments * factor[:, 0],
            "rna_depth": size.n_umis * factor[:, 1],
            "gradient": gradient,
        }
    )


def _log_odds(
    obs: pd.DataFrame,
    states: np.ndarray,
    programme: Programme,
    difficulty: Difficulty,
    rng: np.random.Generator,
) -> np.ndarray:
    """Log-odds (n_cells, n_regions) without type and depth."""
    n_regions = len(programme.region_base)
    affected = rng.random(n_regions) < difficulty.batch_share
    batch = np.where(affected, rng.normal(0, difficulty.batch_log_odds, n_regions), 0)
    fixed = (programme.region_base + batch).astype(np.float32)
    moving = states.astype(np.float32) @ programme.region_programme.astype(np.float32)
    gradient = np.outer(obs["gradient"], programme.region_gradient).astype(np.float32)
    return fixed + moving + gradient


def _accessible(
    obs: pd.DataFrame,
    log_odds: np.ndarray,
    programme: Programme,
    ambient: float,
    difficulty: Difficulty,
    rng: np.random.Generator,
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Fragments in regions (CSR), and log-odds with the depth that gives each cell its number."""
    rows = [CELL_TYPES.index(name) for name in obs["cell_type"]]
    full = log_odds + programme.region_type.astype(np.float32)[rows]
    in_regions = obs["atac_depth"].to_numpy() * difficulty.in_regions * (1 - ambient)
    most = difficulty.saturation * full.shape[1]
    wanted = most * -np.expm1(-in_regions / difficulty.copies / most)
    depth = depth_offset(full, wanted)[:, None].astype(np.float32)
    is_open = rng.random(full.shape, np.float32) < 1 / (1 + np.exp(-(full + depth)))
    row, column = np.nonzero(is_open)
    copies = 1 + rng.poisson(np.maximum(in_regions / wanted - 1, 0)[row])
    counts = sparse.csr_matrix((copies.astype(np.int32), (row, column)), shape=full.shape)
    return counts, log_odds + depth


def depth_offset(log_odds: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return what to add to each row so that its probabilities sum to `wanted`."""
    share = wanted / log_odds.shape[1]
    offset: np.ndarray = np.log(share / (1 - share)) - log_odds.mean(axis=1)
    for _ in range(NEWTON_STEPS):
        probability = 1 / (1 + np.exp(-(log_odds + offset[:, None].astype(np.float32))))
        slope = (probability * (1 - probability)).sum(axis=1)
        offset += np.clip((wanted - probability.sum(axis=1)) / slope, -2, 2)
    return offset


def _expression(
    obs: pd.DataFrame,
    states: np.ndarray,
    programme: Programme,
    difficulty: Difficulty,
    rng: np.random.Generator,
) -> np.ndarray:
    """Share of each gene in a cell's own RNA (n_cells, n_genes)."""
    rows = [CELL_TYPES.index(name) for name in obs["cell_type"]]
    n_genes = len(programme.gene_base)
    batch = np.where(rng.random(n_genes) < difficulty.batch_share, rng.normal(0, 0.15, n_genes), 0)
    log_rate: np.ndarray = (programme.gene_base + batch) + programme.gene_type[rows]
    log_rate += states @ programme.gene_programme
    log_rate += np.outer(obs["gradient"], programme.gene_gradient)
    log_rate += difficulty.gene_noise * rng.standard_normal(log_rate.shape, np.float32)
    rate: np.ndarray = np.exp(log_rate)
    rate /= rate.sum(axis=1, keepdims=True)
    return rate


def sample_pool(
    pool: np.ndarray, expected: np.ndarray, rng: np.random.Generator
) -> sparse.csr_matrix:
    """Return counts (len(expected), len(pool)): Poisson many molecules a barcode, from the pool."""
    n = rng.poisson(expected)
    column = rng.choice(len(pool), n.sum(), p=pool)
    row = np.repeat(np.arange(len(n)), n)
    ones = np.ones(len(row), np.int32)
    return sparse.csr_matrix((ones, (row, column)), shape=(len(n), len(pool)))


def _with_doublets(obs: pd.DataFrame, n_cells: int, n_doublets: int) -> pd.DataFrame:
    partners = obs["cell_type"].to_numpy()[n_cells:]
    obs = obs[:n_cells].copy()
    obs["is_doublet"] = np.arange(n_cells) < n_doublets
    obs["partner_type"] = np.append(partners, np.repeat("", n_cells - n_doublets))
    return obs


def _fold_partners(counts: sparse.csr_matrix, n_cells: int) -> sparse.csr_matrix:
    """Add the rows after `n_cells` to the first rows."""
    partners = counts[n_cells:]
    missing = sparse.csr_matrix((n_cells - partners.shape[0], counts.shape[1]), dtype=counts.dtype)
    return (counts[:n_cells] + sparse.vstack([partners, missing], format="csr")).tocsr()
