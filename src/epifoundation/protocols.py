"""What each protocol asks of a data set, as far as the sample sheet tells, for the Snakefile.

Pretraining never reads the test cells of `paper` and the protocols that share them, nor a test
sample or donor of the held-out ones. Evaluation sets are no part of pretraining, so that it is
made anew only for the atlas's own held-out samples and donors; donors of an evaluation set who gave
cells to the atlas too are never tested in `donor_held_out`.
"""

from epifoundation.samples import ATLAS_DATASET, Sample, SampleSheet

HELD_OUT = {"sample_held_out": "sample", "donor_held_out": "donor"}
FEW_SHOT = "few_shot_"
LABEL_FREE = "label_free"
UNKNOWN_DONOR = ("", "unknown")
ABLATIONS_OF_EMBEDDINGS = ("no_batch", "no_chromosome")  # Table 4: protocol `paper` alone
NO_TISSUE = "no_tissue"


def tasks_of(protocol: str) -> tuple[str, ...]:
    """Return the tasks that a protocol means something for.

    Without labels there are embeddings alone; few labels bear on cell types alone.
    """
    if protocol == LABEL_FREE:
        return ("integration",)
    if protocol.startswith(FEW_SHOT):
        return ("annotation",)
    return ("integration", "annotation", "expression")


def pretraining_of(variant: str, dataset: str, protocol: str) -> str:
    """Return which pretraining a data set's models start from: `variant[.what sets it apart]`."""
    if variant == NO_TISSUE:
        return f"{variant}.{dataset}"
    if dataset == ATLAS_DATASET and protocol in HELD_OUT and variant != "no_pretrain":
        return f"{variant}.{protocol}"
    return variant


def tissues_left_out(sheet: SampleSheet, atlas: str, pretraining: str) -> list[str]:
    """Return the tissues of the data set that a `no_tissue` pretraining is named after."""
    variant, _, dataset = pretraining.partition(".")
    return _tissues(sheet.members(atlas, dataset)) if variant == NO_TISSUE else []


def why_not(sheet: SampleSheet, atlas: str, dataset: str, protocol: str) -> str:
    """Return why a data set cannot be divided by a protocol, or nothing."""
    group = HELD_OUT.get(protocol)
    if group is None:
        return ""
    members = sheet.members(atlas, dataset)
    if unknown := _without_donor(members) if group == "donor" else []:
        return (
            f"{protocol}: the donor of {len(unknown)} of {len(members)} samples is unknown"
            f" (first: {unknown[0]})"
        )
    groups = {str(getattr(row, group)) for row in members}
    if len(groups) < 2:
        return f"{protocol}: one {group} only ({groups.pop()})"
    if not groups - set(pretrained_donors(sheet, atlas, dataset)):
        return f"{protocol}: each of {len(groups)} donors gave cells to the atlas too"
    return ""


def why_no_tissue_cannot(sheet: SampleSheet, atlas: str, dataset: str) -> str:
    """Return why there is no pretraining without a data set's tissue, or nothing."""
    tissues = _tissues(sheet.members(atlas, dataset))
    named = ", ".join(tissues)
    left = set(_tissues(sheet.members(atlas, ATLAS_DATASET)))
    if dataset == ATLAS_DATASET:
        return f"no_tissue: {dataset} has every tissue that there is to pretrain on"
    if not left - set(tissues):
        return f"no_tissue: without {named} nothing is left to pretrain on"
    if not left & set(tissues):
        return f"no_tissue: the atlas has no sample of tissue {named}, so it is the full model"
    return ""


def pretrained_donors(sheet: SampleSheet, atlas: str, dataset: str) -> list[str]:
    """Return the donors that an evaluation set shares with the atlas; none of the atlas itself."""
    if dataset == ATLAS_DATASET:
        return []
    atlas_donors = {row.donor for row in sheet.members(atlas, ATLAS_DATASET)}
    shared = {row.donor for row in sheet.members(atlas, dataset)} & atlas_donors
    return sorted(shared - set(UNKNOWN_DONOR))


def caution(sheet: SampleSheet, atlas: str, dataset: str, protocol: str) -> str:
    """Return what cannot be ruled out: a tested donor among atlas samples of unknown donor."""
    members = sheet.members(atlas, ATLAS_DATASET)
    unknown = _without_donor(members)
    if HELD_OUT.get(protocol) != "donor" or dataset == ATLAS_DATASET or not unknown:
        return ""
    return f"the donor of {len(unknown)} of {len(members)} atlas samples is unknown"


def _without_donor(members: list[Sample]) -> list[str]:
    return [row.sample for row in members if row.donor in UNKNOWN_DONOR]


def _tissues(members: list[Sample]) -> list[str]:
    """Return tissues as sheets write them; `Kidney` and `kidney` are one."""
    return list(dict.fromkeys(row.tissue.lower() for row in members))
