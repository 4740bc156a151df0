"""Fragments that touch windows, against plain comparison of every pair."""

import numpy as np
import pandas as pd
import pytest

from epifoundation.data.windows import WindowIndex


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_every_touching_pair_is_found_once(seed, ordered):
    random = np.random.default_rng(seed)
    start = random.integers(0, 300, 200).astype(np.int32)
    start = np.sort(start) if ordered else start
    end = start + random.choice([1, 5, 40, 250], 200).astype(np.int32)  # long ones reach over many
    first = random.integers(-20, 320, 60)
    windows = pd.DataFrame(
        {
            "chrom": random.choice(["chr1", "chr2"], 60),
            "start": first,
            "end": first + random.integers(1, 30, 60),
        }
    )
    found = WindowIndex(windows).touching("chr1", start, end)
    touching = (
        (windows["chrom"] == "chr1").to_numpy()
        & (start[:, None] < windows["end"].to_numpy())
        & (end[:, None] > windows["start"].to_numpy())
    )
    pairs = set(zip(*np.nonzero(touching), strict=True))
    assert len(found[0]) == len(pairs) > 0
    assert set(zip(*found, strict=True)) == pairs


def test_edges_do_not_touch_and_other_chromosomes_have_nothing():
    index = WindowIndex(pd.DataFrame({"chrom": ["chr1"], "start": [10], "end": [20]}))
    start, end = np.array([0, 0, 19, 20]), np.array([10, 11, 30, 30])
    assert index.touching("chr1", start, end)[0].tolist() == [1, 2]
    for chromosome, length in (("chr2", 4), ("chr1", 0)):
        fragment, window = index.touching(chromosome, start[:length], end[:length])
        assert len(fragment) == len(window) == 0


def test_windows_beyond_what_fragments_can_reach():
    """Positions of fragments are int32; ends of windows need not fit in it."""
    largest = 2**31 - 1
    start = np.array([5, largest - 9], dtype=np.int32)
    end = np.array([9, largest], dtype=np.int32)
    windows = pd.DataFrame(
        {
            "chrom": "chr1",
            "start": [0, 2**31, -(2**40), largest - 1],
            "end": [2**31 + 1, 2**33, 6, 2**32 + 1],
        }
    )
    found = WindowIndex(windows).touching("chr1", start, end)
    assert set(zip(*map(list, found), strict=True)) == {(0, 0), (1, 0), (0, 2), (1, 3)}
