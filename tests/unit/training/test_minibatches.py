"""What is read of cells, and how they are put together."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epifoundation.data.vocabulary import CLS, N_SPECIAL
from epifoundation.training.dataset import CellDataset, cut_minibatches, draw_unexpressed, rows_of


@pytest.fixture
def cells(tiny_atlas) -> CellDataset:
    return CellDataset(
        tiny_atlas.store, np.arange(tiny_atlas.store.n_cells), max_peaks=60, seed=3, max_genes=40
    )


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=60),
    st.integers(1, 120),
    st.integers(1, 20),
)
def test_every_cell_once_and_within_the_budget(lengths: list[int], budget: int, pool: int):
    sizes = np.array(lengths)
    parts = cut_minibatches(sizes, budget, pool_size=pool, generator=np.random.default_rng(0))
    assert sorted(np.concatenate(parts)) == list(range(len(sizes)))
    assert all(len(part) == 1 or sizes[part].sum() <= budget for part in parts)


def test_updates_mix_lengths():
    """Twenty minibatches of an update have about the mean length of all, cells of one do not."""
    lengths = np.random.default_rng(0).lognormal(8.4, 0.6, 4000).clip(max=12000).astype(np.int64)
    budget = int(8 * lengths.mean())
    parts = cut_minibatches(lengths, budget, pool_size=400, generator=np.random.default_rng(1))
    within = np.mean([lengths[part].std() for part in parts]) / lengths.std()
    windows = [np.concatenate(parts[start : start + 20]) for start in range(0, len(parts), 20)]
    means = np.array([lengths[window].mean() for window in windows[:-1]]) / lengths.mean()
    assert within < 0.1
    assert means.std() < 0.15
    padded = sum(len(part) * lengths[part].max() for part in parts)
    assert padded / lengths.sum() < 1.06


@pytest.mark.parametrize(("n_cells", "n_pools"), [(350, 1), (799, 1), (800, 2), (1999, 4)])
def test_pools_hold_fifty_minibatches_or_more(n_cells, n_pools):
    lengths = np.arange(n_cells) * 10 + 10
    parts = cut_minibatches(lengths, 1, pool_size=400, generator=np.random.default_rng(0))
    assert len(parts) == n_cells
    budget = int(8 * lengths.mean())
    parts = cut_minibatches(lengths, budget, pool_size=400, generator=np.random.default_rng(0))
    ranges = sorted((lengths[part].min(), lengths[part].max()) for part in parts)
    overlaps = sum(after[0] < before[1] for before, after in zip(ranges, ranges[1:], strict=False))
    assert (overlaps == 0) == (n_pools == 1)


def test_plan_follows_from_seed_and_epoch(cells):
    plans = [cells.shuffled(epoch, 4) for epoch in (0, 0, 1)]
    assert all(np.array_equal(a, b) for a, b in zip(plans[0], plans[1], strict=True))
    assert not np.array_equal(np.concatenate(plans[0]), np.concatenate(plans[2]))


def test_a_cell_is_read_alike_whatever_it_is_read_with(cells):
    n_peaks = np.diff(cells.store.peak_indptr)
    longest = int(np.argmax(n_peaks))
    assert n_peaks[longest] > cells.max_peaks
    alone = cells.read(np.array([longest]), epoch=5)
    together = cells.read(np.array([(longest + 1) % 60, longest]), epoch=5)
    start = int(together.cells.cu_seqlens[1])
    assert alone.cells.token_ids.tolist() == together.cells.token_ids[start:].tolist()
    mine = together.genes.cell_index == 1
    assert alone.genes.gene_ids.tolist() == together.genes.gene_ids[mine].tolist()
    later = cells.read(np.array([longest]), epoch=6)
    assert alone.cells.token_ids.tolist() != later.cells.token_ids.tolist()


def test_subsample_is_of_the_cells_own_peaks_without_repeats(cells):
    longest = int(np.argmax(np.diff(cells.store.peak_indptr)))
    tokens = cells.read(np.array([longest])).cells.token_ids.tolist()
    own, _, _ = cells.store.cell(longest)
    assert tokens[0] == CLS
    assert len(set(tokens[1:])) == len(tokens[1:]) == cells.max_peaks
    assert set(tokens[1:]) <= set(own.tolist())


def test_half_of_the_genes_are_expressed(cells):
    minibatch = cells.read(np.arange(10))
    for cell in range(10):
        mine = minibatch.genes.cell_index == cell
        asked = minibatch.genes.gene_ids[mine].tolist()
        targets = minibatch.genes.targets[mine].tolist()
        _, expressed, _ = cells.store.cell(cell)
        n_each = min(20, len(expressed))
        assert len(asked) == len(set(asked))
        assert (targets.count(1), targets.count(0)) == (n_each, n_each)
        assert [gene in expressed for gene in asked] == [target == 1 for target in targets]


def test_levels_are_those_of_the_drawn_genes(cells):
    levels = (cells.store.gene_tokens % 9 + 1).astype(np.uint8)
    genes = dataclasses.replace(cells, gene_values=levels).read(np.arange(8)).genes
    expressed = genes.targets > 0
    assert (genes.targets[expressed] == genes.gene_ids[expressed] % 9 + 1).all()
    assert int(expressed.sum()) * 2 == genes.n_pairs


def test_unexpressed_genes_are_drawn_evenly_and_never_special():
    expressed = np.array([5, 7], np.int32)
    generator = np.random.default_rng(0)
    draws = np.concatenate([draw_unexpressed(expressed, 10, 2, generator) for _ in range(4000)])
    counts = np.bincount(draws, minlength=10)
    assert counts[:N_SPECIAL].sum() == counts[[5, 7]].sum() == 0
    assert np.allclose(counts[[4, 6, 8, 9]], 2000, atol=150)
    assert sorted(draw_unexpressed(expressed, 10, 99, generator)) == [4, 6, 8, 9]


def test_rows_of_a_part(tiny_atlas):
    parts = {
        part: rows_of(tiny_atlas.store, tiny_atlas.split, part)
        for part in ("train", "validation", "test")
    }
    assert sorted(np.concatenate(list(parts.values()))) == list(range(60))
    named = tiny_atlas.store.cells["cell"].iloc[parts["test"]]
    split = tiny_atlas.split.set_index("cell")["split"]
    assert (split[named] == "test").all()


@given(st.integers(0, 2**31), st.integers(1, 60))
def test_unexpressed_genes_are_the_same_whichever_way_they_are_drawn(seed, wanted):
    """Of the ids themselves, as long ago, or of their places, which is quicker."""
    expressed = np.arange(5, 40, 3, dtype=np.int32)
    others = np.setdiff1d(np.arange(N_SPECIAL, 100, dtype=np.int32), expressed)
    before = np.random.default_rng(seed).choice(others, wanted, replace=False, shuffle=False)
    now = draw_unexpressed(expressed, 100, wanted, np.random.default_rng(seed))
    assert now.dtype == np.int32
    np.testing.assert_array_equal(now, before)
