"""Protocols of splits: whole samples or donors held out, few labels; and leaks that are caught."""

import re

import pandas as pd
import pytest

from epifoundation.contracts import SPLIT
from epifoundation.data.leaks import (
    LEARNED_FILE,
    check_pretraining,
    check_split,
    read_split,
    write_learned,
)
from epifoundation.data.splits import pretraining_cells, split_by_protocol
from epifoundation.errors import DataError, LeakError

FRACTIONS = {"validation_fraction": 0.1, "test_fraction": 0.25}


@pytest.fixture
def cells():
    """Four samples of 50 cells; two of them of one donor. Five types, one of 8 cells."""
    table = pd.DataFrame({"cell": [f"{sample}#{i}" for sample in "abcd" for i in range(50)]})
    table["sample"] = table["cell"].str[0]
    table["donor"] = table["sample"].map({"a": "one", "b": "two", "c": "two", "d": "three"})
    table["tissue"] = table["sample"].map({"a": "Liver", "b": "Liver", "c": "Lung", "d": "Lung"})
    table["cell_type"] = [f"T{i % 4}" for i in range(200)]
    table.loc[::25, "cell_type"] = "rare"
    return table


def split(cells, protocol, seed=0, **others):
    return split_by_protocol(cells, protocol, seed=seed, dataset="Kidney", **FRACTIONS, **others)


def groups(cells, table, part, kind):
    return set(cells.set_index("cell")[kind].loc[table["cell"][table["split"] == part]])


@pytest.mark.parametrize(
    ("protocol", "kind"), [("sample_held_out", "sample"), ("donor_held_out", "donor")]
)
def test_a_sample_or_donor_is_on_one_side_and_each_is_tested_once(cells, protocol, kind):
    n_groups = cells[kind].nunique()
    tested = []
    for seed in range(n_groups):
        table = split(cells, protocol, seed)
        SPLIT.check(table, "split")
        test = groups(cells, table, "test", kind)
        assert not test & groups(cells, table, "train", kind)
        assert not test & groups(cells, table, "validation", kind)
        assert (table["split"] == "validation").sum() == 20
        check_split(table, cells, protocol, "split")
        tested.append(test)
    assert set.union(*tested) == set(cells[kind])
    assert sum(map(len, tested)) == n_groups


def test_a_donor_of_two_samples_is_held_out_with_both(cells):
    tables = [split(cells, "donor_held_out", seed) for seed in range(3)]
    tested = [groups(cells, table, "test", "sample") for table in tables]
    assert {"b", "c"} in tested


def test_a_donor_that_pretraining_read_is_never_tested(cells):
    for seed in range(4):
        table = split(cells, "donor_held_out", seed, pretrained_donors=["two", "three"])
        assert groups(cells, table, "test", "donor") == {"one"}
    with pytest.raises(DataError, match="3 donors, of which 3 are in pretraining"):
        split(cells, "donor_held_out", pretrained_donors=["one", "two", "three"])


def test_an_unknown_donor_or_a_single_sample_is_refused(cells):
    unknown = cells.assign(donor=cells["donor"].replace("three", ""))
    with pytest.raises(DataError, match="the donor of 50 of 200 cells is unknown"):
        split(unknown, "donor_held_out")
    with pytest.raises(DataError, match="Kidney: 1 samples"):
        split(cells.assign(sample="a"), "sample_held_out")


def test_few_labels_are_so_many_of_each_type_and_nested(cells):
    paper, few, more = (split(cells, p) for p in ("paper", "few_shot_10", "few_shot_50"))
    assert split(cells, "label_free").equals(paper)
    types = cells.set_index("cell")["cell_type"]
    labelled = few["cell"][few["split"].isin(["train", "validation"])]
    counts = types.loc[labelled].value_counts()
    assert counts.drop("rare").tolist() == [10] * 4
    assert counts["rare"] < 10
    validation = types.loc[few["cell"][few["split"] == "validation"]].value_counts()
    assert (validation.drop("rare", errors="ignore") == 2).all()
    assert set(few["cell"][few["split"] == "test"]) == set(paper["cell"][paper["split"] == "test"])
    assert set(labelled) <= set(more["cell"][more["split"].isin(["train", "validation"])])
    # No label of a cell that `paper` keeps for validation is read.
    assert set(labelled) <= set(paper["cell"][paper["split"] == "train"])
    assert (few["split"] == "unused").any()


def test_cells_without_a_type_are_no_labelled_cells(cells):
    nameless = cells.assign(cell_type=cells["cell_type"].replace("T1", "unassigned"))
    few = split(nameless, "few_shot_10")
    known = nameless.set_index("cell")["cell_type"]
    learned = few["cell"][few["split"].isin(["train", "validation"])]
    assert "unassigned" not in set(known.loc[learned])
    with pytest.raises(DataError, match="no type has 5 labelled training cells"):
        split(cells.assign(cell_type=""), "few_shot_10")


def test_pretraining_without_a_tissue_or_with_the_test_cells(cells):
    paper = split(cells, "paper")
    chosen = pretraining_cells(paper, cells["tissue"], without=["liver"])
    assert groups(cells, chosen, "train", "tissue") == {"Lung"}
    assert groups(cells, chosen, "validation", "tissue") == {"Lung"}
    both = pretraining_cells(paper, cells["tissue"], test_too=True)
    assert set(both["split"]) == {"train", "validation"}
    with pytest.raises(DataError, match="without liver, lung no cell is left"):
        pretraining_cells(paper, cells["tissue"], without=["liver", "lung"])


@pytest.mark.parametrize(
    ("protocol", "kind"), [("sample_held_out", "sample"), ("donor_held_out", "donor")]
)
def test_a_planted_cell_of_a_tested_group_is_caught(cells, protocol, kind):
    table = split(cells, protocol)
    first = table.index[table["split"] == "test"][0]
    table.loc[first, "split"] = "train"
    with pytest.raises(LeakError, match=rf"s\.tsv: {kind} \w+ is on both sides of {protocol}"):
        check_split(table, cells, protocol, "s.tsv")
    check_split(table, cells, "paper", "s.tsv")  # which holds out no group
    unknown = cells.assign(**{kind: ""})
    with pytest.raises(LeakError, match=f"the {kind} of 200 of 200 cells is unknown"):
        check_split(table, unknown, protocol, "s.tsv")


def test_a_planted_donor_is_caught_when_a_split_is_read(tiny_atlas, tmp_path):
    cells = tiny_atlas.store.cells
    path = tmp_path / "Kidney.sample_held_out.seed0.tsv"
    good = split(cells, "sample_held_out")
    SPLIT.write(good, path)
    assert read_split(path, tiny_atlas.store, "sample_held_out").equals(good)
    SPLIT.write(tiny_atlas.split, path)  # of random cells
    with pytest.raises(LeakError, match=re.escape(str(path))):
        read_split(path, tiny_atlas.store, "sample_held_out")


def learned(folder, cells):
    cells[["cell", "sample", "donor"]].to_parquet(folder / LEARNED_FILE)
    return folder


def test_a_tested_cell_in_pretraining_is_caught(cells, tmp_path):
    paper = split(cells, "paper")
    trained = cells[paper["split"].isin(["train", "validation"])]
    model = learned(tmp_path, trained)
    check_pretraining(model, paper, cells, "paper")
    planted = paper["cell"][paper["split"] == "test"].iloc[0]
    learned(tmp_path, pd.concat([trained, cells[cells["cell"] == planted]]))
    message = f"pretrained on cells that paper tests: 1 of 50 .first: {planted}."
    with pytest.raises(LeakError, match=message):
        check_pretraining(model, paper, cells, "paper")
    with pytest.raises(LeakError, match="label_free tests: 1 of 50"):
        check_pretraining(model, paper, cells, "label_free")
    check_pretraining(model, paper, cells, "paper", test_cells_allowed=True)


def test_another_cell_of_a_tested_donor_in_pretraining_is_caught(cells, tmp_path):
    table = split(cells, "donor_held_out")
    donor = groups(cells, table, "test", "donor").pop()
    other = pd.DataFrame({"cell": ["atlas#1"], "sample": ["atlas"], "donor": [donor]})
    model = learned(tmp_path, other)
    check_pretraining(model, table, cells, "paper")
    with pytest.raises(LeakError, match="cells of its donors that donor_held_out tests"):
        check_pretraining(model, table, cells, "donor_held_out", test_cells_allowed=True)


def test_a_model_tells_what_it_and_those_before_it_learned_from(tiny_atlas, tmp_path, caplog):
    store, table = tiny_atlas.store, tiny_atlas.split
    first, second, untrained = (tmp_path / name for name in ("first", "second", "untrained"))
    for folder in (first, second, untrained):
        folder.mkdir()
    half = table.assign(split=table["split"].where(table.index < 30, "unused"))
    write_learned(first, store, half)
    write_learned(second, store, table, start_from=first)
    write_learned(untrained, store, table, trained=False)
    everything = table["cell"][table["split"] != "test"]
    assert set(pd.read_parquet(second / LEARNED_FILE)["cell"]) == set(everything)
    assert pd.read_parquet(untrained / LEARNED_FILE).empty
    write_learned(second, store, table, start_from=tmp_path / "of others")
    check_pretraining(tmp_path / "of others", table, store.cells, "paper")
    assert "does not say which cells it learned from" in caplog.text
