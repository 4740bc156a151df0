import pytest
from hypothesis import given
from hypothesis import strategies as st

from epifoundation.contracts import SPLIT
from epifoundation.data.splits import split_cells
from epifoundation.errors import DataError

CELLS = [f"s{i % 3}#barcode{i}" for i in range(200)]


def split(cells, seed=0, dataset="PBMC"):
    return split_cells(
        cells, seed=seed, dataset=dataset, validation_fraction=0.05, test_fraction=0.1
    )


def test_parts_have_the_asked_sizes():
    table = split(CELLS)
    SPLIT.check(table, "split")
    assert table["cell"].tolist() == CELLS
    assert table["split"].value_counts().to_dict() == {"train": 170, "test": 20, "validation": 10}


@given(st.permutations(CELLS[:40]))
def test_order_of_cells_does_not_matter(cells):
    assert dict(split(cells).to_numpy()) == dict(split(CELLS[:40]).to_numpy())


def test_seed_and_dataset_change_the_split():
    assert not split(CELLS).equals(split(CELLS, seed=1))
    assert not split(CELLS).equals(split(CELLS, dataset="BMMC"))


def test_empty_part_is_an_error():
    with pytest.raises(DataError, match=r"PBMC: 8 cells give 7 train, 0 validation and 1 test"):
        split(CELLS[:8])


def test_repeated_cell_is_an_error():
    with pytest.raises(DataError, match="1 of 3 cells repeat"):
        split(["a", "b", "a"])
