"""Counts, barcode metrics and peaks against what Signac 1.8.0 and MACS2 2.2.7.1 printed.

Recorded, but without a counterpart here, so that nothing is compared: percentiles of barcodes by
nucleosome signal and TSS score; `mononucleosomal`, `nucleosome_free` and `reads_count`, of which
only the ratio is reported; `tss_slow_profile` (both scores are summed up without a profile).
What is made of the counts is compared in test_seurat.py.
"""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import io

from epifoundation.cli.arguments import paper_section
from epifoundation.config import PeakConfig
from epifoundation.data.annotation import protein_coding, read_genes
from epifoundation.data.fragment_reader import read_fragments
from epifoundation.data.fragments import RegionCounter, count_fragments_in_peaks
from epifoundation.data.gene_activity import activity_regions, gene_activity
from epifoundation.data.peaks import call_peaks
from epifoundation.data.qc import FragmentMetrics, measure_fragments
from epifoundation.data.regions import read_bed
from epifoundation.data.tss import tss_positions

FIRST_LINES = {"sim": 100_000, "signac": 50}  # what the recording set `n` to


@pytest.fixture(scope="module", params=["sim", "signac"])
def recorded(request, shared) -> tuple[Path, Path]:
    """Inputs and expected outputs of one recording."""
    return shared / "golden" / request.param, shared / "golden" / f"{request.param}_expected"


@pytest.fixture(scope="module")
def barcodes(recorded) -> list[str]:
    return (recorded[0] / "barcodes.txt").read_text().split()


@pytest.fixture(scope="module")
def genes(recorded) -> pd.DataFrame:
    return read_genes(recorded[0] / "genes.gtf")


@pytest.fixture(scope="module")
def metrics(recorded, barcodes, genes) -> pd.DataFrame:
    peaks = read_bed(recorded[0] / "peaks.bed")
    table = measure_fragments(recorded[0] / "fragments.tsv.gz", genes, barcodes, peaks=peaks)
    return table.set_index("barcode")


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", index_col=0, float_precision="round_trip")


def matrix(path: Path):
    with gzip.open(path) as handle:
        return io.mmread(handle).T.tocsr()


def test_feature_matrix(recorded, barcodes):
    inputs, expected = recorded
    peaks = read_bed(inputs / "peaks.bed")
    counts = count_fragments_in_peaks(
        inputs / "fragments.tsv.gz", peaks, barcodes, keep_absent=False
    )
    names = (expected / "featurematrix_features.txt").read_text().split()
    var = counts.var
    assert (
        var["chrom"] + "-" + (var["start"] + 1).astype(str) + "-" + var["end"].astype(str)
    ).tolist() == names
    assert (expected / "featurematrix_cells.txt").read_text().split() == barcodes
    assert (matrix(expected / "featurematrix.mtx.gz") != counts.X).nnz == 0


def test_planted_edge_cases(shared):
    """Forty peaks that a fragment of one barcode touches by a base, or only just misses."""
    sim = shared / "golden" / "sim"
    edges = pd.read_csv(sim / "edge_peaks.tsv", sep="\t")
    barcodes = (sim / "barcodes.txt").read_text().split()
    peaks = read_bed(sim / "peaks.bed")
    counts = count_fragments_in_peaks(sim / "fragments.tsv.gz", peaks, barcodes, keep_absent=True).X
    lines = pd.read_csv(sim / "fragments.tsv.gz", sep="\t", header=None, comment="#")
    assert len(edges) == 40
    for edge in edges.itertuples():
        assert peaks.loc[edge.peak_index0, ["chrom", "start", "end"]].tolist() == [
            *(edge.chrom, edge.start0, edge.end)
        ]
        of_barcode = lines[(lines[3] == edge.barcode) & (lines[0] == edge.chrom)]
        overlapping = ((of_barcode[1] < edge.end) & (of_barcode[2] > edge.start0)).sum()
        assert counts[barcodes.index(edge.barcode), edge.peak_index0] == overlapping


def test_feature_matrix_of_every_barcode_of_the_file(recorded):
    inputs, expected = recorded
    lines = pd.read_csv(
        inputs / "fragments.tsv.gz", sep="\t", header=None, comment="#", usecols=[3]
    )
    everyone = sorted(lines[3].unique())
    peaks = read_bed(inputs / "peaks.bed")
    counts = count_fragments_in_peaks(
        inputs / "fragments.tsv.gz", peaks, everyone, keep_absent=False
    )
    totals = pd.Series(np.asarray(counts.X.sum(axis=1)).ravel(), everyone)
    theirs = table(expected / "featurematrix_allbarcodes_colsums.tsv.gz")["total"]
    pd.testing.assert_series_equal(
        totals[totals > 0].sort_index(), theirs.sort_index(), check_names=False, check_dtype=False
    )


def test_fragment_counts_and_fractions_in_peaks(recorded, barcodes, metrics):
    fragments = table(recorded[1] / "countfragments.tsv.gz")["frequency_count"]
    assert metrics["n_fragments"].tolist() == fragments.reindex(barcodes).fillna(0).tolist()
    if recorded[0].name == "signac":  # its FRiP is of a peak matrix of other fragments
        return
    frip = table(recorded[1] / "frip.tsv.gz").loc[barcodes, "FRiP"]
    np.testing.assert_array_equal(metrics["frac_in_peaks"], frip)


def test_nucleosome_signal(recorded, barcodes, metrics, genes):
    expected = table(recorded[1] / "nucleosomesignal.tsv.gz").loc[barcodes]
    np.testing.assert_array_equal(
        metrics["nucleosome_signal"], expected["nucleosome_signal"].astype(float)
    )
    n_lines = FIRST_LINES[recorded[0].name]
    first = FragmentMetrics(None, n_barcodes=len(barcodes), first_lines=n_lines)
    for chunk in read_fragments(recorded[0] / "fragments.tsv.gz", barcodes):
        first.add(chunk)
    np.testing.assert_array_equal(
        first.table(barcodes)["nucleosome_signal_first_lines"],
        expected["nucleosome_signal_first_n_lines"].astype(float),
    )


def test_tss_positions(recorded, genes):
    expected = pd.read_csv(recorded[1] / "tss_positions.tsv.gz", sep="\t")
    expected = expected[expected["chr"] != "chrM"]  # dropped later by Signac itself
    found = tss_positions(protein_coding(genes))
    assert found["position"].tolist() == expected["pos"].tolist()
    assert found["chrom"].tolist() == expected["chr"].tolist()


@pytest.mark.parametrize("score", ["fast", "slow"])
def test_tss_enrichment(recorded, barcodes, genes, score):
    fragments = recorded[0] / "fragments.tsv.gz"
    found = measure_fragments(fragments, genes, barcodes, tss=score)["tss_enrichment"]
    if recorded[0].name == "signac":  # R stops here: no fragment ends beside a TSS
        assert found.isna().all()
        return
    expected = table(recorded[1] / "tssenrichment.tsv.gz").loc[barcodes, f"TSS_{score}"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_gene_activity(recorded, barcodes):
    inputs, expected = recorded
    activity = gene_activity(inputs / "fragments.tsv.gz", inputs / "genes.gtf", barcodes)
    assert (matrix(expected / "geneactivity.mtx.gz") != activity.X).nnz == 0
    names = (expected / "geneactivity_genes.txt").read_text().split("\n")[:-1]
    own = pd.Series(activity.var_names)
    region = (
        activity.var["chrom"]
        + activity.var["start"].astype(str)
        + "-"
        + activity.var["end"].astype(str)
    )
    first_of_region = own.groupby(region.to_numpy()).transform("first")
    assert first_of_region.tolist() == names  # of equal regions Signac names all after the first


@pytest.mark.parametrize(
    ("name", "named_by", "biotypes"),
    [("allbiotypes", "gene_name", "all"), ("geneid", "gene_id", "protein_coding")],
)
def test_gene_activity_of_other_biotypes_and_by_gene_id(
    recorded, barcodes, genes, name, named_by, biotypes
):
    inputs, expected = recorded
    asked = genes.assign(gene_type="protein_coding") if biotypes == "all" else genes
    regions = activity_regions(asked)
    counter = RegionCounter(regions, n_barcodes=len(barcodes))
    for chunk in read_fragments(inputs / "fragments.tsv.gz", barcodes):
        counter.add(chunk)
    theirs = table(expected / f"geneactivity_{name}_rowsums.tsv.gz")["total"]
    with gzip.open(inputs / "fragments.tsv.gz", "rt") as handle:
        present = {line.split("\t")[0] for line in handle if not line.startswith("#")}
    kept = regions["chrom"].isin(present).to_numpy()
    totals = np.asarray(counter.matrix().sum(axis=0)).ravel()
    assert totals[kept].tolist() == theirs.tolist()
    names = regions[kept].groupby(["chrom", "start", "end"])[named_by].transform("first")
    assert names.tolist() == theirs.index.tolist()


def test_macs2_peaks(recorded):
    inputs, expected = recorded
    (path,) = (expected / "macs2").glob("*.narrowPeak")
    columns = ["chrom", "start", "end", "name", "score"]
    called = pd.read_csv(path, sep="\t", header=None, usecols=range(5), names=columns)
    settings = paper_section(PeakConfig, "peaks")
    chromosomes = sorted(set(called["chrom"]))
    peaks, _ = call_peaks(
        [inputs / "fragments.tsv.gz"],
        settings,
        standard_chromosomes=chromosomes,
        blacklist=pd.DataFrame({"chrom": [], "start": [], "end": []}),
    )
    compared = ["chrom", "start", "end", "score"]
    expected_peaks = called.sort_values(["chrom", "start"], ignore_index=True)[compared]
    pd.testing.assert_frame_equal(peaks[compared], expected_peaks)
