import pytest

from epifoundation.errors import ConfigError
from epifoundation.samples import COLUMNS, SampleSheet

BASE = {
    "sample": "liver",
    "atlas": "mini",
    "role": "atlas",
    "tissue": "liver",
    "disco_atlas": "liver",
    "entry": "fastq",
    "source": "GEO",
}


@pytest.fixture
def read(tmp_path):
    def read(*rows, labels="disco_wnn", profiles=None):
        lines = ["\t".join(COLUMNS)]
        filled = [{**BASE, "rna": f"GSM{i}1", "atac": f"GSM{i}2", **r} for i, r in enumerate(rows)]
        lines += ["\t".join(row.get(c, "") for c in COLUMNS) for row in filled]
        (tmp_path / "s.tsv").write_text("# a comment\n" + "\n".join(lines) + "\n")
        return SampleSheet.read(tmp_path / "s.tsv", labels=labels, profiles=profiles, root=tmp_path)

    return read


def test_data_sets_are_the_atlas_and_its_evaluation_sets(read):
    sheet = read(
        {},
        {"sample": "k1", "role": "evaluation", "dataset": "Kidney"},
        {"sample": "k2", "role": "evaluation", "dataset": "Kidney", "entry": "fragments"},
    )
    assert sheet.datasets("mini") == ["ALLTissue", "Kidney"]
    assert [row.sample for row in sheet.members("mini", "Kidney")] == ["k1", "k2"]
    assert [row.sample for row in sheet.members("mini", "ALLTissue")] == ["liver"]
    assert [row.sample for row in sheet.select(entry="fragments")] == ["k2"]
    assert sheet.pattern("sample") == "liver|k1|k2"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param({"sample": "my liver"}, "letters, digits", id="space"),
        pytest.param({"sample": "a;rm"}, "letters, digits", id="shell"),
        pytest.param({"atlas": "../up"}, "atlas '../up' must be letters", id="atlas"),
        pytest.param({"role": "test"}, "role is 'test', allowed: atlas, evaluation", id="role"),
        pytest.param({"source": ""}, "needs a source", id="source"),
        pytest.param(
            {"source": "GEO", "rna": "ENCSR128ZLB"},
            "rna 'ENCSR128ZLB' is no accession of GEO, e.g. GSM5828468",
            id="accession of another source",
        ),
        pytest.param({"rna": ""}, "rna is empty", id="empty"),
        pytest.param({"disco_atlas": ""}, "needs disco_atlas for tissue 'liver'", id="disco"),
        pytest.param({"role": "evaluation"}, "needs the name of its dataset", id="dataset"),
    ],
)
def test_a_mistake_names_its_sample(read, row, message):
    with pytest.raises(ConfigError, match=message):
        read({"sample": "good"}, row)


def test_two_samples_of_an_atlas_cannot_be_the_same_file(read, caplog):
    shared = {"entry": "fragments", "rna": "data/r.h5", "atac": "data/f.tsv.gz"}
    with pytest.raises(ConfigError) as error:
        read(shared, {**shared, "sample": "liver2", "rna": "r2.h5", "atac": "data//f.tsv.gz"})
    assert "liver2: data//f.tsv.gz is already sample liver's in atlas mini" in str(error.value)
    both = {"rna": "both.h5mu", "atac": "both.h5mu", "entry": "matrices"}
    assert len(read(both, {**both, "atlas": "other"}).rows) == 2  # atlases do not share cells
    read({"rna": "GSM1"}, {"sample": "liver2", "rna": "GSM1"})
    assert "liver2: GSM1 is already sample liver's in atlas mini" in caplog.text


def test_given_labels_need_no_disco_atlas(read):
    typed = {"disco_atlas": "", "entry": "matrices", "rna": "a.h5mu", "atac": "a.h5mu"}
    assert len(read(typed, labels="given").rows) == 1


@pytest.mark.parametrize(
    "row",
    [{}, {"entry": "fragments", "rna": "r.h5", "atac": "f.tsv.gz"}],
    ids=["fastq", "fragments"],
)
def test_given_labels_need_files_that_can_hold_them(read, row):
    with pytest.raises(
        ConfigError, match=r"liver: labels\.source given takes cell_type .* has none"
    ):
        read(row, labels="given")


@pytest.mark.parametrize(
    ("entry", "rna", "atac", "message"),
    [
        ("fragments", "f.tsv.gz", "r.h5ad", "rna f.tsv.gz are fragments, .* swapped?"),
        ("fragments", "r.h5", "https://x.org/a.h5ad?raw=1", "entry matrices takes these"),
        ("matrices", "r.h5", "f.tsv.gz", "entry fragments takes these"),
    ],
)
def test_files_in_the_wrong_column_are_told_by_their_suffix(read, entry, rna, atac, message):
    with pytest.raises(ConfigError, match=f"liver: .*{message}"):
        read({"entry": entry, "rna": rna, "atac": atac})


def test_a_local_file_of_profiles_says_which_atlases_there_are(read, tmp_path):
    (tmp_path / "p.csv").write_text('"gene","T cell--liver_cell","B cell--blood"\nA,1,2\n')
    assert read({"disco_atlas": "blood"}, profiles="p.csv").rows
    with pytest.raises(ConfigError, match=r"p\.csv has no 'liver_cells': choose liver_cell"):
        read({"disco_atlas": "liver_cells"}, profiles="p.csv")
    (tmp_path / "plain.csv").write_text("gene,T cell\nA,1\n")  # no atlas is named: all are used
    assert read({}, profiles="plain.csv").rows


@pytest.mark.parametrize("labels", ["disco_wnn", "disco_rna"])
@pytest.mark.parametrize(
    ("tissue", "advice"),
    [
        ("liver", "choose liver_cell or liver_nucleus"),
        ("heart left ventricle", "choose heart"),
        ("PBMC", "choose blood"),
        ("bile duct", r"no atlas of it, so choose the nearest .*adipose_cell, .*kidney, "),
        ("fallopian tube", r"no atlas of it, so choose the nearest .*ovary, "),
    ],
)
def test_a_tissue_without_an_atlas_is_advised(read, tissue, advice, labels):
    with pytest.raises(ConfigError, match=f"odd: labelling needs .* '{tissue}'; .*{advice}"):
        read({"sample": "odd", "tissue": tissue, "disco_atlas": ""}, labels=labels)


def test_an_atlas_disco_lacks_is_refused_before_hours_of_alignment(read):
    url = "https://disco/toolkit/getRef?type=csv"
    with pytest.raises(ConfigError, match=r"DISCO has no 'liver': choose liver_cell or liver_n"):
        read({}, profiles=url)
    with pytest.raises(ConfigError, match=r"DISCO has no 'bone_marow': choose bone_marrow"):
        read({"disco_atlas": "bone_marow"}, profiles=url)
    assert len(read({"disco_atlas": "liver_nucleus"}, profiles=url).rows) == 1
    assert len(read({"disco_atlas": "mine"}, profiles="mine.tsv").rows) == 1


def test_a_missing_column_or_file_is_said(tmp_path):
    (tmp_path / "s.tsv").write_text("sample,atlas\n")
    with pytest.raises(ConfigError, match="column sample, atlas.* is missing"):
        SampleSheet.read(tmp_path / "s.tsv", labels="none", root=tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        SampleSheet.read("absent.tsv", labels="none", root=tmp_path)


def test_a_matrix_by_url_is_refused_since_its_lists_would_lack(read, tmp_path):
    row = {"entry": "fragments", "source": "", "atac": "https://host/f.tsv.gz"}
    with pytest.raises(ConfigError, match=r"liver: rna https\S+: matrix\.mtx by URL .* one folder"):
        read(row | {"rna": "https://host/GSM1_matrix.mtx.gz"})
    with pytest.raises(ConfigError, match=r"atac file\S+: matrix\.mtx by URL"):
        urls = {"rna": "https://host/a.h5", "atac": "file:///a/matrix.mtx#md5=0"}
        read(row | urls | {"entry": "matrices"})
    assert read(row | {"rna": "data/GSM1_matrix.mtx.gz"}).rows


def test_a_checksum_hides_no_swapped_files(read):
    urls = {"rna": "https://host/f.tsv.gz#md5=0", "atac": "https://host/a.h5"}
    with pytest.raises(ConfigError, match="are fragments, not counts"):
        read(urls | {"entry": "fragments", "source": ""})
