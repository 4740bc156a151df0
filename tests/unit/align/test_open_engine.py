"""The whole open engine on reads of known origin: every planted number comes back."""

import gzip
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest
import scanpy as sc

from epifoundation.align.layout import METRIC_COLUMNS, OUTS, UNKNOWN
from epifoundation.align.open_engine import align_open
from epifoundation.config import AlignConfig
from epifoundation.errors import AlignError
from epifoundation.evaluation.concordance import compare_outs


@pytest.fixture(scope="module")
def outs(library, reference, tmp_path_factory) -> Path:
    return run(library, reference, tmp_path_factory.mktemp("run") / "outs", threads=2)


def run(library, reference, outs: Path, threads: int, bwa_options: tuple[str, ...] = ()) -> Path:
    align_open(
        library.manifest,
        library.folder,
        outs,
        sample="toy",
        star_index=reference.star,
        bwa_index=reference.bwa,
        genome="tiny",
        mitochondrial="chrM",
        config=AlignConfig(
            engine="open",
            cellranger_arc="",
            whitelist_gex=str(library.whitelist_gex),
            whitelist_atac=str(library.whitelist_atac),
            min_mapping_quality=30,
            bwa_options=[],
        ),
        threads=threads,
    )
    return outs


def read_fragments(path: Path) -> pd.DataFrame:
    names = ["chrom", "start", "end", "barcode", "count"]
    return pd.read_csv(path, sep="\t", comment="#", header=None, names=names)


def test_writes_the_layout_and_nothing_else(outs: Path) -> None:
    assert sorted(path.name for path in outs.iterdir()) == sorted(OUTS)
    assert [path.name for path in outs.parent.iterdir()] == ["outs"]


def test_recovers_fragments(outs: Path, library) -> None:
    found = read_fragments(outs / "atac_fragments.tsv.gz")
    key = ["chrom", "start", "end", "barcode", "count"]
    both = found.merge(library.fragments, on=key)
    assert len(both) / len(library.fragments) > 0.999
    assert len(both) / len(found) > 0.999


def test_fragments_are_sorted_indexed_and_described(outs: Path, library) -> None:
    path = outs / "atac_fragments.tsv.gz"
    found = read_fragments(path)
    assert list(dict.fromkeys(found["chrom"])) == ["chr1", "chr2", "chrM"]
    for _, rows in found.groupby("chrom"):
        assert rows["start"].is_monotonic_increasing
    with gzip.open(path, "rt") as handle:
        assert handle.readline() == "# id=toy\n"
    with pysam.TabixFile(str(path)) as file:
        n_found = sum(1 for _ in file.fetch("chr2", 0, 75_000))
    assert n_found == (found["chrom"] == "chr2").sum()


def test_recovers_umis(outs: Path, library) -> None:
    rna = sc.read_10x_h5(outs / "raw_feature_bc_matrix.h5")
    counts = pd.DataFrame(rna.X.toarray(), rna.obs_names, rna.var_names).stack()
    counts = counts[counts > 0]
    planted = library.umis.set_index(["barcode", "gene"])["n"]
    same = counts.reindex(planted.index) == planted
    assert same.mean() > 0.999
    assert abs(counts.sum() - planted.sum()) < 0.001 * planted.sum()


def test_features_carry_id_type_genome_interval(outs: Path, reference) -> None:
    rna = sc.read_10x_h5(outs / "filtered_feature_bc_matrix.h5")
    gene = reference.genes.iloc[3]
    row = rna.var.loc[gene.gene]
    assert row["gene_ids"] == f"ID{gene.gene}"
    assert row["feature_types"] == "Gene Expression"
    assert row["genome"] == "tiny"
    assert row["interval"] == f"{gene.chrom}:{gene.start}-{gene.end}"


def test_calls_the_planted_cells(outs: Path, library) -> None:
    rna = sc.read_10x_h5(outs / "filtered_feature_bc_matrix.h5")
    assert set(rna.obs_names) == library.cells


def test_lesser_barcodes_of_a_nucleus_are_excluded(outs: Path, library) -> None:
    metrics = pd.read_csv(outs / "per_barcode_metrics.csv").set_index("barcode")
    found = metrics["excluded_reason"][metrics["excluded_reason"] > 0].to_dict()
    assert found == library.excluded
    assert sorted(found.values()) == [1, 1, 1, 3, 3, 3]
    assert (metrics.loc[list(found), "is_cell"] == 0).all()


def test_fragments_near_a_tss(outs: Path, library, reference) -> None:
    metrics = pd.read_csv(outs / "per_barcode_metrics.csv").set_index("barcode")
    genes = reference.genes
    genes = genes.assign(tss=np.where(genes["strand"] == "+", genes["start"], genes["end"] - 1))
    near = pd.Series(0, metrics.index)
    nuclear = read_fragments(outs / "atac_fragments.tsv.gz").query("chrom != 'chrM'")
    for chrom, rows in nuclear.groupby("chrom"):
        tss = genes.loc[genes["chrom"] == chrom, "tss"].to_numpy()
        start, end = (rows[name].to_numpy()[:, None] for name in ("start", "end"))
        within = ((end > tss - 1000) & (start <= tss + 1000)).any(axis=1)
        near = near.add(rows["barcode"][within].value_counts(), fill_value=0)
    assert near.sum() > 1000
    assert (metrics["atac_TSS_fragments"] == near[metrics.index]).all()


def test_what_cannot_be_known_is_empty(outs: Path) -> None:
    metrics = pd.read_csv(outs / "per_barcode_metrics.csv")
    empty = metrics.columns[metrics.isna().all()]
    assert set(empty) == set(UNKNOWN)
    assert metrics.drop(columns=empty).notna().all(axis=None)


def test_metrics_agree_with_the_other_files(outs: Path, library) -> None:
    metrics = pd.read_csv(outs / "per_barcode_metrics.csv").set_index("barcode", drop=False)
    assert list(metrics) == METRIC_COLUMNS
    assert set(metrics.index[metrics["is_cell"] == 1]) == library.cells
    found = read_fragments(outs / "atac_fragments.tsv.gz").groupby("barcode")
    fragments = found["count"].size().reindex(metrics.index, fill_value=0)
    duplicates = found["count"].sum().reindex(metrics.index, fill_value=0) - fragments
    assert np.array_equal(metrics["atac_fragments"], fragments)
    assert np.array_equal(metrics["atac_dup_reads"], duplicates)
    parts = ["unmapped_reads", "lowmapq", "chimeric_reads", "dup_reads", "fragments"]
    total = metrics[[f"atac_{part}" for part in parts]].sum(axis=1)
    assert np.array_equal(metrics["atac_raw_reads"], total)
    pairs = pd.read_csv(library.whitelist_gex, header=None)[0] + "-1"
    atac = (pd.read_csv(library.whitelist_atac, header=None)[0] + "-1").set_axis(pairs)
    assert (metrics["atac_barcode"] == atac[metrics.index]).all()
    assert (metrics["gex_raw_reads"] >= metrics["gex_umis_count"]).all()


def test_summary_names_the_pipeline(outs: Path, library) -> None:
    row = pd.read_csv(outs / "summary.csv").iloc[0]
    assert row["Sample ID"] == "toy"
    assert row["Pipeline version"].startswith("epifoundation-open-")
    assert row["Estimated number of cells"] == len(library.cells)
    assert row["ATAC Valid barcodes"] > 0.99
    cells = library.cells
    fragments, umis = library.fragments, library.umis
    in_cells = fragments["barcode"].isin(cells).mean()
    name = "ATAC Fraction of high-quality fragments in cells"
    assert row[name] == pytest.approx(in_cells, abs=0.001)
    non_nuclear = fragments["count"][fragments["chrom"] == "chrM"].sum() / fragments["count"].sum()
    assert row["ATAC Non-nuclear read pairs"] == pytest.approx(non_nuclear, abs=0.001)
    in_cells = umis["n"][umis["barcode"].isin(cells)].sum() / umis["n"].sum()
    name = "GEX Fraction of transcriptomic reads in cells"
    assert row[name] == pytest.approx(in_cells, abs=0.01)
    duplicates = 1 - umis["n"].sum() / row["GEX Sequenced read pairs"]
    assert row["GEX Percent duplicates"] == pytest.approx(duplicates, abs=0.01)
    shares = row.filter(regex="Fraction|Valid|Percent|Unmapped|mapped").astype(float)
    assert shares.between(0, 1).all()


def test_result_does_not_depend_on_threads(outs: Path, library, reference, tmp_path: Path) -> None:
    other = run(library, reference, tmp_path / "outs", threads=1)
    for name in ("per_barcode_metrics.csv", "summary.csv"):
        assert (other / name).read_bytes() == (outs / name).read_bytes()
    texts = [gzip.decompress((f / "atac_fragments.tsv.gz").read_bytes()) for f in (other, outs)]
    assert texts[0] == texts[1]


def test_a_lane_less_shows_in_the_comparison(
    outs: Path, library, reference, tmp_path: Path
) -> None:
    manifest = library.manifest
    fewer = manifest[(manifest["library"] == "gex") | (manifest["lane"] != "L003")]
    other = run(replace(library, manifest=fewer), reference, tmp_path / "outs", threads=2)
    found = compare_outs(outs, other)[0].set_index("measure")
    assert found.loc["cells", "agreement"] > 0.9
    assert found.loc["gene_counts_equal", "agreement"] == 1
    lost = found.loc["peak_totals", "second"] / found.loc["peak_totals", "first"]
    assert 0.6 < lost < 0.8
    assert 0.5 < found.loc["peak_correlation_median", "agreement"] < 0.95


def foreign(content: bytes, length: int) -> bytes:
    """Return the gzipped FASTQ with every read of this length replaced by adenines."""
    bases = b"\n" + b"A" * length + b"\n"
    return gzip.compress(re.sub(rb"\n[ACGT]{%d}\n" % length, bases, gzip.decompress(content)), 1)


def damaged(library, folder: Path, file: str, change) -> object:
    """Return the library with one file changed, the others linked."""
    for path in library.folder.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / file).unlink()
    (folder / file).write_bytes(change((library.folder / file).read_bytes()))
    return replace(library, folder=folder)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        pytest.param(
            "atac_L002_R3.fastq.gz", lambda b: b[:-100], "atac_L002_R3.* damaged", id="cut"
        ),
        pytest.param(
            "atac_L002_R1.fastq.gz",
            lambda b: gzip.compress(gzip.decompress(b) + b"@x\nAC\n+\nFF\n"),
            "different numbers of reads",
            id="longer",
        ),
        pytest.param(
            "gex_L001_R1.fastq.gz",
            lambda b: gzip.compress(gzip.decompress(b)[:-200]),
            "gex_L001_R1.*(different|within a record)",
            id="gex",
        ),
        pytest.param(
            "gex_L001_R2.fastq.gz",
            lambda b: foreign(b, 90),
            "GEX reads none was counted",
            id="foreign gex",
        ),
        pytest.param(
            "atac_L001_R2.fastq.gz",
            lambda b: foreign(b, 24),
            "no barcode layout fits",
            id="foreign barcodes",
        ),
    ],
)
def test_bad_reads_leave_no_output(
    library, reference, tmp_path: Path, file: str, change, message: str
) -> None:
    (tmp_path / "fastq").mkdir()
    bad = damaged(library, tmp_path / "fastq", file, change)
    with pytest.raises(AlignError, match=message):
        run(bad, reference, tmp_path / "run" / "outs", threads=2)
    assert [path.name for path in (tmp_path / "run").rglob("*")] == ["outs"]


@pytest.mark.parametrize(
    ("library_name", "reads", "message"),
    [
        ("atac", ("R2", "R3"), r"no barcode layout fits.*atac_L001_R2.* does hold barcodes \(9"),
        ("gex", ("R1", "R2"), r"of 10,000 reads start with.*gex_L001_R1.* does hold barcodes \(9"),
    ],
)
def test_swapped_read_roles(
    library, reference, tmp_path: Path, library_name: str, reads: tuple[str, str], message: str
) -> None:
    manifest = library.manifest.copy()
    of_library = manifest["library"] == library_name
    roles = dict(zip(reads, reversed(reads), strict=True))
    manifest.loc[of_library, "read"] = manifest["read"][of_library].replace(roles)
    with pytest.raises(AlignError, match=message):
        run(replace(library, manifest=manifest), reference, tmp_path / "run" / "outs", threads=2)
