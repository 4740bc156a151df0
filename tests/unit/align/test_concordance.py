"""Two alignments compared: the open engine with itself, and with other settings."""

import gzip
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.cli import main
from epifoundation.evaluation.concordance import column_correlations, compare_outs

BARCODES = [f"{'ACGT'[i % 4]}{i:03d}-1" for i in range(40)]


def write_outs(
    folder: Path, counts: np.ndarray, fragments: list[tuple[str, int, int, str]]
) -> Path:
    """Write an `outs` folder of cells × genes and fragments (chrom, start, end, barcode)."""
    from epifoundation.align.layout import write_10x_h5

    folder.mkdir()
    names = BARCODES[: len(counts)]
    genes = pd.DataFrame({"gene_id": [f"E{i}" for i in range(counts.shape[1])]})
    genes["gene_name"], genes["interval"] = "N" + genes["gene_id"], "chr1:1-2"
    path = folder / "filtered_feature_bc_matrix.h5"
    write_10x_h5(path, sparse.csr_matrix(counts), barcodes=names, genes=genes, genome="toy")
    text = "".join("\t".join(map(str, (*row, 1))) + "\n" for row in sorted(fragments))
    (folder / "atac_fragments.tsv.gz").write_bytes(gzip.compress(text.encode()))
    n_fragments = pd.Series([row[3] for row in fragments]).value_counts()
    metrics = pd.DataFrame({"barcode": names, "gex_umis_count": counts.sum(axis=1)})
    metrics["gex_genes_count"] = (counts > 0).sum(axis=1)
    metrics["atac_fragments"] = n_fragments.reindex(names, fill_value=0).to_numpy()
    metrics.to_csv(folder / "per_barcode_metrics.csv", index=False)
    return folder


@pytest.fixture
def content():
    rng = np.random.default_rng(0)
    counts = rng.poisson(3, (40, 12)).astype(np.int32)
    fragments = [
        ("chr1", int(start), int(start) + 90, BARCODES[cell])
        for cell, start in zip(
            rng.integers(40, size=900), rng.integers(30_000, size=900), strict=True
        )
    ]
    return counts, fragments


def values(table: pd.DataFrame) -> pd.Series:
    return table.set_index("measure")["agreement"]


def test_a_folder_agrees_with_itself(content, tmp_path: Path) -> None:
    outs = write_outs(tmp_path / "a", *content)
    table, report = compare_outs(outs, outs)
    of_features = table[~table["measure"].isin(["genes", "peaks"])]
    assert np.allclose(of_features["agreement"], 1)
    assert "windows of 5,000 bp" in report
    assert report.count("None differs.") == 2


def test_two_samples_are_asked_about(content, tmp_path: Path, caplog) -> None:
    one, other = (write_outs(tmp_path / name, *content) for name in "ab")
    with h5py.File(other / "filtered_feature_bc_matrix.h5", "r+") as file:
        barcodes = file["matrix/barcodes"]
        barcodes[3:] = [b"N" + name[1:] for name in barcodes[3:]]
    _, report = compare_outs(one, other)
    assert "Only 3 of 40 cells are in both folders: are they of one sample?" in report
    assert "of one sample?" in caplog.text
    assert "of one sample" not in compare_outs(one, one)[1]


def test_each_difference_is_seen_where_it_is(content, tmp_path: Path) -> None:
    counts, fragments = content
    changed = counts.copy()
    changed[:, 4] = np.random.default_rng(1).permutation(counts[:, 4]) + 9
    fewer = [row for row in fragments if row[3] != BARCODES[0] and row[1] % 10 > 1]
    one = write_outs(tmp_path / "a", counts, fragments)
    other = write_outs(tmp_path / "b", changed[:38], fewer)
    table, report = compare_outs(one, other)
    found = values(table)
    assert found["cells"] == pytest.approx(38 / 40)
    assert found["gene_correlation_median"] == pytest.approx(1)
    assert found["gene_correlation_percentile_5"] < 0.6
    assert found["UMIs_per_cell"] < 1
    assert 0.2 < found["fragments_per_cell"] < 0.9
    assert 0.8 < found["peak_correlation_median"] < 1
    row = table.set_index("measure").loc["gene_totals"]
    assert row["second"] > row["first"]
    assert report.split("## Genes")[1].split("| E")[1].startswith("4 |")


def test_peaks_of_either_folder_or_of_a_file(content, tmp_path: Path) -> None:
    one = write_outs(tmp_path / "a", *content)
    other = shutil.copytree(one, tmp_path / "b")
    with h5py.File(other / "filtered_feature_bc_matrix.h5", "r+") as file:
        features = file["matrix/features"]
        for name, value in (("feature_type", b"Peaks"), ("id", b"chr1:0-9000")):
            changed = features[name][:].astype("S20")
            changed[-1] = value
            del features[name]
            features[name] = changed
        changed = features["name"][:].astype("S20")
        changed[-1] = b"chr1:0-9000"
        del features["name"]
        features["name"] = changed
    table, report = compare_outs(one, other)
    assert f"peaks of {other}" in report
    assert table.set_index("measure").loc["peaks", ["first", "agreement"]].tolist() == [1, 1]
    (tmp_path / "p.bed").write_text("chr1\t0\t100\nchr1\t500\t9000\n")
    table, report = compare_outs(one, other, peaks=tmp_path / "p.bed")
    assert values(table)["peaks"] == 2
    assert "p.bed" in report


def test_correlations_of_columns_are_numpys() -> None:
    rng = np.random.default_rng(2)
    x, y = (rng.poisson(1, (50, 6)) for _ in range(2))
    x[:, 2] = 4
    found = column_correlations(sparse.csr_matrix(x), sparse.csr_matrix(y))
    assert np.isnan(found[2])
    for i in (0, 1, 3, 4, 5):
        assert found[i] == pytest.approx(np.corrcoef(x[:, i], y[:, i])[0, 1])


def test_by_command(content, tmp_path: Path, capsys) -> None:
    one = write_outs(tmp_path / "a", *content)
    other = write_outs(tmp_path / "b", content[0][:30], content[1])
    output, report = tmp_path / "agreement.tsv", tmp_path / "agreement.md"
    arguments = ["compare-outs", "--outs", one, other, "--output", output, "--report", report]
    assert main(list(map(str, arguments))) == 0
    assert pd.read_csv(output, sep="\t")["measure"].is_unique
    assert report.read_text().startswith("# Agreement")
    (other / "per_barcode_metrics.csv").unlink()
    assert main(list(map(str, arguments))) == 2
    assert "lacks per_barcode_metrics.csv. Give the `outs`" in capsys.readouterr().err


def test_folders_of_different_samples(content, tmp_path: Path, capsys) -> None:
    one = write_outs(tmp_path / "a", *content)
    other = shutil.copytree(one, tmp_path / "b")
    with h5py.File(other / "filtered_feature_bc_matrix.h5", "r+") as file:
        file["matrix/barcodes"][:] = np.array([f"T{i:03d}-9" for i in range(40)], "S6")
    arguments = ["compare-outs", "--outs", one, other, "--output", tmp_path / "t.tsv"]
    assert main(list(map(str, arguments))) == 2
    assert "have no cell in common (A000-1, T000-9" in capsys.readouterr().err
    assert not (tmp_path / "t.tsv").exists()
