"""The paper's sample sheet, against what is known of its samples."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from epifoundation.samples import ATLAS_DATASET, COLUMNS, KNOWN, SampleSheet

ROOT = Path(__file__).parents[3]
FACTS = ROOT / "../shared/facts"
needs_facts = pytest.mark.skipif(
    not FACTS.is_dir(), reason="the facts on samples (../shared/facts) are not here"
)


@pytest.fixture(scope="module")
def sheet() -> SampleSheet:
    return SampleSheet.read("config/samples.tsv", labels="disco_wnn", root=ROOT)


def facts(name: str) -> list[dict[str, str]]:
    with (FACTS / name).open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def test_sheet_has_the_samples_of_the_paper(sheet: SampleSheet) -> None:
    assert sheet.atlases() == ["miniatlas"]
    sizes = {name: len(sheet.members("miniatlas", name)) for name in sheet.datasets("miniatlas")}
    assert sizes == {ATLAS_DATASET: 19, "BMMC": 12, "Kidney": 5, "PBMC": 9}
    assert {row.entry for row in sheet.rows} == {"fastq"}


def test_accessions_are_used_once_and_look_right(sheet: SampleSheet) -> None:
    for row in sheet.rows:
        prefix = {"GEO": "GSM", "ENCODE": "ENCSR"}[row.source]
        assert row.rna.startswith(prefix), row
        assert row.atac.startswith(prefix), row
    series = sheet.one("heart_left_ventricle")
    assert series.rna == series.atac == "ENCSR882CKY"
    used = [a for row in sheet.rows if row is not series for a in (row.rna, row.atac)]
    assert [a for a, n in Counter(used).items() if n > 1] == []


def test_batches_are_tissues_in_the_atlas_and_pairs_in_evaluation(sheet: SampleSheet) -> None:
    atlas = sheet.members("miniatlas", ATLAS_DATASET)
    assert [row.batch for row in atlas] == [row.tissue for row in atlas]
    assert len({row.tissue for row in atlas}) == 19
    for row in sheet.select(role="evaluation"):
        assert row.batch == f"{row.rna}_{row.atac}"
        assert row.sample == f"{row.dataset}_{row.batch}"


def test_choices_of_ours_are_marked(sheet: SampleSheet) -> None:
    assumed = {row.sample for row in sheet.rows if "assumed" in row.caution}
    assert assumed == {"retina", "bile_duct", "fallopian_tube"}
    assert (sheet.one("retina").rna, sheet.one("retina").atac) == ("GSM5866082", "GSM5866074")
    assert all(row.caution for row in sheet.rows)


@needs_facts
def test_accessions_are_those_of_the_facts(sheet: SampleSheet) -> None:
    known = facts("miniatlas_samples.tsv")
    exact = {
        (r["rna_accession"], r["atac_accession"])
        for r in known
        if r["tissue"] != "retina" and r["series"] != "ENCSR882CKY"
    }
    ours = {(r.rna, r.atac) for r in sheet.rows}
    assert len(known) == len(sheet.rows) == 45
    assert ours - exact == {("GSM5866082", "GSM5866074"), ("ENCSR882CKY", "ENCSR882CKY")}
    assert exact <= ours


@needs_facts
def test_evidence_pairs_series_and_sizes_are_those_of_the_facts(sheet: SampleSheet) -> None:
    known = {r["pair_id"]: r for r in facts("miniatlas_samples.tsv")}
    evidence = {"A(pair)+B(role)": "A+B", "B(series only)": "B"}
    for row in sheet.rows:
        fact = known["unknown pair of 8 reps" if row.sample == "retina" else row.pair]
        assert row.series == fact["series"]
        assert row.evidence == evidence.get(fact["evidence"], fact["evidence"])
        assert (f"{row.reads_gb} GB" in fact["raw_location"]) if row.reads_gb else True
    assert sum(float(row.reads_gb or 0) for row in sheet.rows) == pytest.approx(465.9)


@needs_facts
def test_donors_are_those_of_the_runs_and_crossings_are_told(sheet: SampleSheet) -> None:
    donors = {row["gsm"]: row["donor"] for row in facts("GSE194122_bmmc_multiome_runs.tsv")}
    marrow = [row for row in sheet.rows if row.rna in donors]
    assert len(marrow) == 13
    for row in marrow:
        assert row.donor == donors[row.rna] == donors[row.atac]
    atlas = {row.donor for row in marrow if row.role == "atlas"}
    crossing = [row for row in marrow if row.role == "evaluation" and row.donor in atlas]
    assert {row.rna for row in crossing} == {"GSM5828468", "GSM5828471"}
    shared = [row for row in marrow if row.donor == "18303"]
    assert {row.rna for row in shared} == {"GSM5828470", "GSM5828475"}
    for row in [*crossing, *shared, sheet.one("bone_marrow")]:
        assert f"donor {row.donor}" in row.caution


@needs_facts
def test_disco_atlases_exist(sheet: SampleSheet) -> None:
    known = {row["atlas"] for row in facts("disco_reference_cell_types.tsv")}
    assert {row.disco_atlas for row in sheet.rows} <= known


def test_every_column_is_explained() -> None:
    text = (ROOT / "config" / "README.md").read_text()
    assert [name for name in (*COLUMNS, *KNOWN) if f"| `{name}` |" not in text] == []
