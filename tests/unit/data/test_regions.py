"""Counts of pairs that arrive in pieces."""

import numpy as np
import pytest

from epifoundation.data import regions
from epifoundation.data.regions import PairCounts


@pytest.mark.parametrize("pending", [1, 10, 10_000])
def test_pairs_are_counted_however_often_they_are_merged(monkeypatch, pending):
    monkeypatch.setattr(regions, "PENDING_PAIRS", pending)
    random = np.random.default_rng(0)
    counts, expected = PairCounts(5, 7), np.zeros((5, 7), dtype=int)
    for n in (0, 3, 40, 1, 200):
        rows, columns = random.integers(5, size=n), random.integers(7, size=n)
        counts.add(rows, columns)
        np.add.at(expected, (rows, columns), 1)
    matrix = counts.matrix()
    assert matrix.dtype == np.int32
    assert matrix.has_canonical_format
    assert matrix.toarray().tolist() == expected.tolist()
