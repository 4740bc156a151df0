"""Planted cells among empty barcodes are called, whatever their number and depth."""

import numpy as np
import pytest

from epifoundation.align.calling import call_cells, order_of_magnitude
from epifoundation.errors import AlignError


def droplets(seed: int, n_cells: int, depth: float, ambient: float, n_noise: int = 3_000):
    """Cells with log-normal depth (correlated between modalities), empties, and stray barcodes."""
    rng = np.random.default_rng(seed)
    common = rng.multivariate_normal([0, 0], [[0.25, 0.125], [0.125, 0.25]], n_cells)
    doublets = 1 + (rng.random((n_cells, 1)) < 0.04)
    cells = rng.poisson(depth * np.exp(common) * doublets)
    empty = rng.poisson(depth * ambient * np.exp(rng.normal(0, 0.3, (2_000, 2))))
    noise = rng.poisson(0.7, (n_noise, 2))
    counts = np.vstack([cells, empty, noise])
    return counts[:, 0], counts[:, 1], np.arange(len(counts)) < n_cells


@pytest.mark.parametrize("n_cells", [200, 500, 8_000])
@pytest.mark.parametrize("depth", [1_500, 4_000, 20_000])
@pytest.mark.parametrize("ambient", [0.02, 0.05, 0.10])
def test_calls_planted_cells(n_cells: int, depth: float, ambient: float) -> None:
    n_atac, n_umis, truth = droplets(1, n_cells, depth, ambient)
    called = call_cells(n_atac, n_umis)
    assert (called & truth).sum() / truth.sum() >= 0.98
    assert (called & truth).sum() / called.sum() >= 0.98


def test_one_modality_is_not_enough() -> None:
    n_atac, n_umis, truth = droplets(2, 400, 3_000, 0.05)
    n_umis = n_umis.copy()
    n_umis[:100] = 0
    called = call_cells(n_atac, n_umis)
    assert not called[:100].any()
    assert called[100:400].mean() > 0.98


def test_order_of_magnitude_finds_the_number_of_cells() -> None:
    counts = np.concatenate([np.full(300, 1_000), np.full(5_000, 5)])
    assert order_of_magnitude(counts) == 100


def test_no_barcode_in_both() -> None:
    with pytest.raises(AlignError, match="are the same|no barcode has two"):
        call_cells(np.array([5, 0]), np.array([0, 5]))


@pytest.mark.parametrize("ambient", [0.001, 0.05])
def test_libraries_of_different_samples(ambient: float) -> None:
    n_atac, n_umis, _ = droplets(3, 400, 3_000, ambient)
    with pytest.raises(AlignError, match=r"of \d+ barcodes .* only \d+ are the same"):
        call_cells(n_atac, np.roll(n_umis, 2_000))


def test_enormous_counts_of_a_few_barcodes_are_no_other_sample() -> None:
    n_atac, n_umis, _ = droplets(5, 400, 3_000, 0.05)
    n_atac[-20:] = 3_000_000
    with pytest.raises(AlignError, match="cannot be told from empty"):
        call_cells(n_atac, n_umis)


def test_excluded_barcodes_are_no_cells() -> None:
    n_atac, n_umis, truth = droplets(4, 400, 3_000, 0.05)
    excluded = np.arange(truth.size) < 40
    called = call_cells(n_atac, n_umis, excluded)
    assert not called[:40].any()
    assert called[40:400].mean() > 0.98


def test_all_alike() -> None:
    with pytest.raises(AlignError, match="cannot be told from empty"):
        call_cells(np.full(50, 9), np.full(50, 9))
