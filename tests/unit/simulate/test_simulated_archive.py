import gzip
import json

import pandas as pd
import pytest

from epifoundation.config import SimulateConfig
from epifoundation.files import file_hash
from epifoundation.samples import SampleSheet
from epifoundation.simulate import write_simulation
from epifoundation.simulate.design import ALL_SAMPLES, LINEAGE_OF, SAMPLES

SMALL = SimulateConfig(seed=3, size="small")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tenth of the small size's cells."""
    folder = tmp_path_factory.mktemp("simulated")
    write_simulation(folder, SMALL, cells=0.2, threads=2)
    return folder


def lines_of(path):
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def test_index_describes_every_file(folder):
    archive = folder / "archive"
    index = pd.read_csv(archive / "index.tsv", sep="\t")
    on_disk = {p.relative_to(archive).as_posix() for p in archive.rglob("*.fastq.gz")}
    assert set(index["url"]) == on_disk
    for row in index.itertuples():
        path = archive / row.url
        assert (path.stat().st_size, file_hash(path, "md5")) == (row.bytes, row.md5)
        lines = lines_of(path)
        assert len(lines) == 4 * row.n_reads
        assert {len(line) for line in lines[1::4]} == {row.read_length}
    lengths = index.groupby(["library", "read"])["read_length"].unique().str[0].to_dict()
    assert lengths["gex", "R1"] == 28
    assert lengths["gex", "R2"] == 90
    pairs = index.groupby(["accession", "lane"])["n_reads"].nunique()
    assert (pairs == 1).all()


def test_same_seed_same_bytes_whatever_the_threads(folder, tmp_path):
    write_simulation(tmp_path, SMALL, cells=0.2, threads=1)
    for path in folder.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / path.relative_to(folder)).read_bytes(), path


def test_truth_names_barcodes_of_the_whitelists(folder):
    cells = pd.read_csv(folder / "truth" / "cells.tsv", sep="\t")
    gex, atac = (lines_of(folder / f"whitelist_{kind}.txt.gz") for kind in ("gex", "atac"))
    pair = dict(zip(gex, atac, strict=True))
    assert len(pair) == 2000
    assert [pair[barcode[:-2]] for barcode in cells["barcode"]] == list(cells["atac_barcode"])
    assert not cells.duplicated(["sample", "barcode"]).any()
    assert cells["cell_type"].map(LINEAGE_OF).equals(cells["lineage"])
    r1 = lines_of(folder / "archive" / "SIMG000004" / "SIMG000004_S1_L001_R1_001.fastq.gz")[1::4]
    molecules = pd.Series([read[:28] for read in r1]).drop_duplicates().str[:16].value_counts()
    kidney = cells[cells["sample"] == "Kidney_1"]
    found = molecules.reindex(kidney["barcode"].str[:-2]).to_numpy()
    assert found == pytest.approx(kidney["n_umis"].to_numpy(), rel=0.05)


def test_profiles_are_shaped_as_disco_s(folder):
    profiles = pd.read_csv(folder / "profiles.tsv", sep="\t", index_col=0)
    assert all(name.count("--") == 1 for name in profiles)
    assert {name.split("--")[1] for name in profiles} == {s.disco_atlas for s in SAMPLES}
    names = {name.split("--")[0] for name in profiles}
    synonyms = pd.read_csv(folder / "truth" / "synonyms.tsv", sep="\t")
    assert names - set(LINEAGE_OF) == set(synonyms["synonym"])
    genes = {
        line.split('gene_name "')[1].split('"')[0] for line in lines_of(folder / "genes.gtf.gz")[2:]
    }
    assert 0.85 < len(genes & set(profiles.index)) / len(genes) < 1
    assert set(profiles.index) - genes


def test_controls_are_written(folder):
    rows = json.loads((folder / "truth" / "controls.json").read_text())
    assert {"oracle", "lsi_logistic", "shuffled_pairs"} <= {row["control"] for row in rows}


@pytest.mark.parametrize(
    ("name", "designs"),
    [("demo_samples", SAMPLES), ("demo_two_batches_samples", ALL_SAMPLES)],
    ids=["demo", "two batches"],
)
def test_sample_sheets_are_the_design(request, name, designs):
    root = request.config.rootpath
    sheet = SampleSheet.read(f"config/{name}.tsv", labels="disco_wnn", root=root)
    for row, design in zip(sheet.rows, designs, strict=True):
        assert row.sample == design.name
        assert row.dataset == design.dataset
        assert row.disco_atlas == design.disco_atlas
        assert (row.tissue, row.batch, row.donor) == (design.tissue, design.batch, design.donor)
        assert (row.rna, row.atac) == (f"SIMG{design.number:06d}", f"SIMA{design.number:06d}")
