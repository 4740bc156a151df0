"""What each protocol asks of the data sets of a sample sheet."""

import pytest

from epifoundation import protocols
from epifoundation.samples import Sample, SampleSheet


def sample(name, role, dataset="", *, tissue="Lung", donor="", atlas="mini"):
    return Sample(name, atlas, role, dataset, tissue, "", donor, "", "matrices", "", "r", "a", "")


@pytest.fixture
def sheet():
    rows = (
        sample("lung", "atlas", donor="one"),
        sample("liver", "atlas", tissue="Liver", donor="two"),
        sample("k1", "evaluation", "Kidney", tissue="Kidney", donor="two"),
        sample("k2", "evaluation", "Kidney", tissue="Kidney", donor="four"),
        sample("l1", "evaluation", "Liver", tissue="liver", donor="two"),
        sample("b1", "evaluation", "Blood", tissue="Blood", donor="five"),
        sample("b2", "evaluation", "Blood", tissue="Blood"),
        sample("x1", "evaluation", "Shared", tissue="Lung", donor="one"),
        sample("x2", "evaluation", "Shared", tissue="Lung", donor="two"),
    )
    return SampleSheet(rows)


@pytest.mark.parametrize(
    ("dataset", "protocol", "reason"),
    [
        ("Kidney", "donor_held_out", ""),
        ("Kidney", "sample_held_out", ""),
        ("ALLTissue", "donor_held_out", ""),
        ("Blood", "sample_held_out", ""),
        ("Blood", "paper", ""),
        ("Blood", "few_shot_10", ""),
        ("Liver", "sample_held_out", "sample_held_out: one sample only (l1)"),
        ("Blood", "donor_held_out", "the donor of 1 of 2 samples is unknown (first: b2)"),
        ("Shared", "donor_held_out", "each of 2 donors gave cells to the atlas too"),
    ],
)
def test_why_a_data_set_cannot_be_divided(sheet, dataset, protocol, reason):
    said = protocols.why_not(sheet, "mini", dataset, protocol)
    assert reason in said
    assert bool(said) == bool(reason)


def test_donors_shared_with_the_atlas_are_not_tested(sheet):
    assert protocols.pretrained_donors(sheet, "mini", "Kidney") == ["two"]
    assert protocols.pretrained_donors(sheet, "mini", "ALLTissue") == []


def test_only_the_atlas_itself_is_pretrained_anew_to_hold_out(sheet):
    which = protocols.pretraining_of
    assert which("full", "ALLTissue", "donor_held_out") == "full.donor_held_out"
    assert which("no_batch", "ALLTissue", "sample_held_out") == "no_batch.sample_held_out"
    assert which("no_pretrain", "ALLTissue", "sample_held_out") == "no_pretrain"
    for protocol in ("paper", "label_free", "few_shot_10"):
        assert which("full", "ALLTissue", protocol) == "full"
    assert which("full", "Kidney", "donor_held_out") == "full"
    assert which("no_tissue", "Liver", "paper") == "no_tissue.Liver"


def test_the_tissue_of_a_data_set_is_left_out_whatever_its_case(sheet):
    assert protocols.tissues_left_out(sheet, "mini", "no_tissue.Liver") == ["liver"]
    assert protocols.tissues_left_out(sheet, "mini", "full") == []
    assert not protocols.why_no_tissue_cannot(sheet, "mini", "Liver")
    kidney = protocols.why_no_tissue_cannot(sheet, "mini", "Kidney")
    assert kidney.startswith("no_tissue: the atlas has no sample of tissue kidney")
    everything = protocols.why_no_tissue_cannot(sheet, "mini", "ALLTissue")
    assert "ALLTissue has every tissue" in everything


def test_a_donor_that_cannot_be_told_is_said(sheet):
    assert protocols.caution(sheet, "mini", "Kidney", "donor_held_out") == ""
    unknown = SampleSheet((*sheet.rows, sample("skin", "atlas", tissue="Skin")))
    said = protocols.caution(unknown, "mini", "Kidney", "donor_held_out")
    assert said == "the donor of 1 of 3 atlas samples is unknown"
    assert protocols.caution(unknown, "mini", "Kidney", "paper") == ""


def test_tasks_that_a_protocol_means_something_for():
    assert protocols.tasks_of("label_free") == ("integration",)
    assert protocols.tasks_of("few_shot_50") == ("annotation",)
    assert len(protocols.tasks_of("donor_held_out")) == 3
