"""Sets of regions."""

import pandas as pd
import pytest

from epifoundation.data.intervals import (
    check_ends,
    clipped,
    merged,
    read_chrom_sizes,
    without_overlaps,
)
from epifoundation.errors import DataError


def frame(*regions):
    return pd.DataFrame(regions, columns=["chrom", "start", "end"])


def scored(*regions):
    return pd.DataFrame(regions, columns=["chrom", "start", "end", "score"])


def test_touching_is_not_overlapping():
    regions = frame(("chr1", 10, 20), ("chr1", 15, 30), ("chr2", 10, 20), ("chr1", 40, 50))
    others = frame(("chr1", 20, 25), ("chr1", 30, 40), ("chr3", 0, 99))
    kept = without_overlaps(regions, others)
    assert kept["start"].tolist() == [10, 10, 40]
    assert len(without_overlaps(regions, frame(("chr3", 0, 99)))) == 4


def test_merging_joins_what_touches_and_nothing_else():
    one = scored(("chr1", 0, 10, 5), ("chr1", 21, 30, 1), ("chr2", 5, 9, 2), ("chr1", 40, 90, 3))
    two = scored(("chr1", 10, 20, 7), ("chr1", 50, 60, 9), ("chr1", 70, 80, 1))
    union = merged([one, two, scored()])
    assert union.to_numpy().tolist() == [
        ["chr1", 0, 20, 7],  # 0-10 and 10-20 share no base but touch
        ["chr1", 21, 30, 1],  # one base apart
        ["chr1", 40, 90, 9],  # 70-80 lies within, after a shorter one
        ["chr2", 5, 9, 2],
    ]
    assert merged([union]).equals(union)
    assert merged([scored()]).empty


def test_regions_are_cut_at_chromosome_ends():
    regions = frame(("chr1", 0, 50), ("chr2", 90, 120))
    sizes = {"chr1": 1_000, "chr2": 100}
    assert clipped(regions, sizes, "peaks")["end"].tolist() == [50, 100]
    with pytest.raises(DataError, match=r"1 of 2 regions end beyond .*chr2:90-120.* has 100 bases"):
        check_ends(regions, sizes, "given.bed")
    with pytest.raises(DataError, match=r"1 of 2 regions start beyond .*chr2:90-120"):
        clipped(regions, {"chr1": 1_000, "chr2": 90}, "peaks")
    with pytest.raises(DataError, match=r"1 chromosomes have no length \(first: chr2"):
        clipped(regions, {"chr1": 1_000}, "peaks")


def test_chromosome_sizes_are_read_or_refused(tmp_path):
    path = tmp_path / "sizes.tsv"
    path.write_text("chr1\t100\t7\n2\t50\t9\n")
    assert read_chrom_sizes(path) == {"chr1": 100, "2": 50}
    for text in ("chr1 100\n", "", "chr1\tlong\n", "chr1\t0\n"):
        path.write_text(text)
        with pytest.raises(DataError, match=r"sizes\.tsv"):
            read_chrom_sizes(path)
