"""Sets and counts of fragment starts, against plain NumPy."""

import numpy as np
import pandas as pd
import psutil
import pytest

from epifoundation.data import starts as starts_module
from epifoundation.data.starts import StartCounts, bed_lines


@pytest.fixture(scope="module")
def drawn():
    """Starts of two chromosomes in pieces of any order, with the edges of bytes among them."""
    generator = np.random.default_rng(0)
    pieces = [("b", np.array([0, 7, 8, 8, 8, 15, 16], dtype=np.int32))]
    for chromosome, reach in [("a", 3_000), ("b", 50_000), ("a", 40)] * 2:
        pieces.append((chromosome, generator.integers(0, reach, 2_000, dtype=np.int32)))
    return pieces


@pytest.mark.parametrize("cap", [1, 3, 255])
def test_counts_equal_numpys(drawn, cap, monkeypatch):
    monkeypatch.setattr(starts_module, "BLOCK", 1024)  # several blocks a chromosome
    counts = StartCounts(cap)
    for chromosome, start in drawn:
        counts.add(chromosome, start)
    assert counts.chromosomes == ["a", "b"]
    regions = pd.DataFrame(
        {"chrom": ["b", "a", "b", "c"], "start": [0, 10, 30_000, 0], "end": [9, 99, 90_000, 5]}
    )
    n_kept, n_in_regions = 0, 0
    for chromosome in "ab":
        every = np.concatenate([start for name, start in drawn if name == chromosome])
        position, times = np.unique(every, return_counts=True)
        expected = np.repeat(position, np.minimum(times, cap))
        found = np.concatenate(list(counts.positions(chromosome, cap)))
        np.testing.assert_array_equal(found, expected)
        assert counts.n_positions(chromosome) == len(position)
        assert counts.last(chromosome) == position[-1]
        n_kept += len(expected)
        for region in regions[regions["chrom"] == chromosome].itertuples():
            n_in_regions += int(((position >= region.start) & (position < region.end)).sum())
    assert counts.n_kept(cap) == n_kept
    assert counts.n_positions_in(regions) == n_in_regions


def test_counts_stop_at_the_cap():
    counts = StartCounts(255)
    counts.add("a", np.full(1_000, 5, dtype=np.int32))
    assert counts.n_kept(255) == 255
    assert counts.n_kept(2) == 2
    assert counts.last("nowhere") == -1
    assert counts.n_positions("nowhere") == 0


def test_counts_come_back_from_where_they_were_set_aside(drawn, tmp_path):
    counts = StartCounts(1)
    for chromosome, start in drawn:
        counts.add(chromosome, start)
    before = counts.n_kept(1), counts.last("a"), counts.n_positions("b")
    with counts.set_aside(tmp_path):
        assert len(list(tmp_path.iterdir())) == 2
        assert counts.n_kept(1) == 0
    assert (counts.n_kept(1), counts.last("a"), counts.n_positions("b")) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cap", [1, 3])
def test_what_is_set_aside_is_no_longer_than_the_chromosome(cap, tmp_path):
    counts = StartCounts(cap)
    last = 1_100_000
    for position in (1_000_000, last):  # the second makes room for more than it needs
        counts.add("chr1", np.array([position], dtype=np.int32))
    with counts.set_aside(tmp_path):
        (file,) = tmp_path.iterdir()
        assert file.stat().st_size <= last // (8 if cap == 1 else 1) + 1_000
    assert counts.last("chr1") == last
    counts.add("chr1", np.array([last + 9, 5], dtype=np.int32))
    assert counts.n_positions("chr1") == 4


def test_room_for_what_may_come_takes_no_memory():
    counts = StartCounts(255)
    before = psutil.Process().memory_info().rss
    for i in range(50):  # near the end of as many chromosomes, in no page but the last
        counts.add(f"chr{i}", np.array([20_000_000 + i], dtype=np.int32))
    assert psutil.Process().memory_info().rss - before < 100e6


def test_lines_hold_every_number_of_digits():
    start = np.array([0, 9, 10, 99, 100, 248_956_421, 2**31 - 2], dtype=np.int32)
    expected = "".join(f"chrX\t{s}\t{s + 1}\n" for s in start.tolist())
    assert bytes(bed_lines("chrX", start)) == expected.encode()
    assert len(bed_lines("chrX", start[:0])) == 0
