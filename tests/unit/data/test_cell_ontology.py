import csv
import re
from importlib import resources
from pathlib import Path

import pytest

from epifoundation.data.cell_ontology import TABLE, merged_names, ontology_ids, term_of

DISCO = Path(__file__).parents[3] / "../shared/facts/disco_reference_cell_types.tsv"


@pytest.fixture(scope="module")
def rows():
    text = resources.files("epifoundation.data").joinpath(TABLE).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


def test_the_table_names_each_type_once_and_each_term_alike(rows):
    names = [row["name"].casefold() for row in rows]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"CL:\d{7}", row["cell_ontology_id"]) for row in rows)
    assert {row["match"] for row in rows} == {"exact", "broad"}
    labels = {(row["cell_ontology_id"], row["label"]) for row in rows}
    assert len({one for one, _ in labels}) == len({two for _, two in labels}) == len(labels)


def test_names_are_found_whatever_their_case_and_by_the_ontologys_own_label():
    assert term_of("Plasma  cell") == term_of("plasma cell")
    assert term_of("natural killer cell") == term_of("NK cell")
    assert term_of("no such cell") is None
    assert ontology_ids(["NK cell", "", "unassigned", "B cell"]) == [
        "CL:0000623",
        "",
        "",
        "CL:0000236",
    ]


def test_a_name_may_mean_another_type_in_one_atlas():
    assert ontology_ids(["Delta cell"], "pancreas_cell") == ["CL:0000173"]
    assert ontology_ids(["Delta cell"], "stomach") == ["CL:0002267"]


def test_only_names_of_the_same_type_become_one():
    names = ["Treg", "Treg cell", "GZMB CD8 T cell", "GZMK CD8 T cell", "CD8 T cell", "my cell"]
    assert merged_names(names) == [
        "regulatory T cell",
        "regulatory T cell",
        "GZMB CD8 T cell",
        "GZMK CD8 T cell",
        "CD8-positive, alpha-beta T cell",
        "my cell",
    ]


@pytest.mark.skipif(not DISCO.exists(), reason=f"DISCO's list of types is not at {DISCO}")
def test_nearly_all_types_of_disco_have_a_term():
    with DISCO.open() as handle:
        types = list(csv.DictReader(handle, delimiter="\t"))
    unknown = {t["cell_type"] for t in types if term_of(t["cell_type"], t["atlas"]) is None}
    assert len(unknown) == 18
    assert {"EndoMT", "Sympathoblast"} <= unknown
