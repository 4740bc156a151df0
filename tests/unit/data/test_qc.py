"""Barcode metrics and the six criteria."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.config import QcConfig
from epifoundation.contracts import BARCODE_METRICS, QC_FUNNEL
from epifoundation.data.qc import (
    count_and_measure,
    filter_cells,
    measure_fragments,
    nucleosome_line_limit,
)
from epifoundation.errors import DataError

QC = QcConfig(
    min_rna_umis=1000,
    max_rna_umis=25000,
    min_atac_reads=1000,
    max_atac_reads=100000,
    atac_reads="in_peaks",
    max_nucleosome_signal=2,
    nucleosome_lines="all",
    min_tss_enrichment=1,
)


@pytest.fixture
def metrics():
    good = {
        "n_rna_umis": 1001,
        "n_genes": 500,
        "n_fragments": 500,
        "n_atac_in_peaks": 1001,
        "nucleosome_signal": 1.9,
        "tss_enrichment": 1.1,
    }
    changes = [
        {},
        {"n_rna_umis": 1000},
        {"n_rna_umis": 25000},
        {"n_atac_in_peaks": 1000},
        {"n_atac_in_peaks": 100000},
        {"nucleosome_signal": 2.0},
        {"nucleosome_signal": np.nan},
        {"tss_enrichment": 1.0},
        {"tss_enrichment": 0.5, "n_rna_umis": 3},
    ]
    rows = [{"barcode": f"cell{i}", **good, **change} for i, change in enumerate(changes)]
    return pd.DataFrame(rows)


def genes(*rows):
    columns = ["gene_id", "gene_name", "gene_type", "chrom", "start", "end", "strand"]
    return pd.DataFrame(rows, columns=columns)


def test_limits_themselves_fail_and_the_funnel_counts_each_criterion_alone(metrics):
    cells, funnel = filter_cells(metrics, QC, sample="s")
    assert cells["barcode"].tolist() == ["cell0"]
    QC_FUNNEL.check(funnel, "funnel")
    removed = dict(zip(funnel["criterion"], funnel["n_removed"], strict=True))
    assert removed == {
        "start": 0,
        "min_rna_umis": 2,
        "max_rna_umis": 1,
        "min_atac_reads": 1,
        "max_atac_reads": 1,
        "max_nucleosome_signal": 2,
        "min_tss_enrichment": 2,
        "kept": 8,
    }
    assert funnel["n_barcodes"].iloc[-1] == 1


def test_atac_reads_may_be_all_fragments(metrics):
    qc = QC.model_copy(update={"atac_reads": "fragments", "min_atac_reads": 499})
    assert len(filter_cells(metrics, qc, sample="s")[0]) == 3


def test_without_limits_every_barcode_is_kept(metrics):
    cells, funnel = filter_cells(metrics, None, sample="s")
    assert len(cells) == len(metrics)
    assert funnel["criterion"].tolist() == ["start", "kept"]


def test_matrices_are_judged_by_what_they_tell(metrics):
    known = metrics.drop(columns=["n_fragments", "nucleosome_signal", "tss_enrichment"])
    qc = QC.model_copy(update={"atac_reads": "fragments"})
    cells, funnel = filter_cells(known, qc, sample="s")
    assert cells["barcode"].tolist() == ["cell0", "cell5", "cell6", "cell7"]
    assert len(funnel) == 6


def test_a_sample_without_cells_names_the_criterion_to_blame(metrics):
    poor = metrics.assign(tss_enrichment=0.2)
    with pytest.raises(DataError) as error:
        filter_cells(poor, QC, sample="heart_1")
    message = str(error.value)
    assert "sample heart_1: no cell is left of 9 barcodes" in message
    assert "min_tss_enrichment removes most (9; limit 1, median tss_enrichment 0.2)" in message
    assert "\n" not in message


@pytest.fixture
def inputs(tmp_path):
    fragments = tmp_path / "fragments.tsv"
    lines = [
        ("chr1", 2000, 2146, "AA"),  # 146 bp: nucleosome-free
        ("chr1", 2000, 2147, "AA"),  # 147 bp: neither
        ("chr1", 2000, 2148, "AA"),  # mononucleosomal
        ("chr1", 9000, 9294, "AA"),  # 294 bp: neither
        ("chr1", 9000, 9293, "BB"),
        ("chr1", 9000, 9100, "other"),
    ]
    fragments.write_text("".join("\t".join(map(str, line)) + "\t7\n" for line in lines))
    rna = ad.AnnData(
        X=sparse.csr_matrix(np.array([[3, 0, 1], [0, 0, 0]], dtype=np.int32)),
        obs=pd.DataFrame(index=["AA", "BB"]),
        var=pd.DataFrame({"chrom": ["chr1", "chr1", "chrM"]}, index=["A", "B", "MT"]),
    )
    annotation = genes(("E1", "A", "protein_coding", "chr1", 2500, 8000, "+"))
    return fragments, rna, annotation


def test_metrics_of_a_worked_example(inputs):
    fragments, rna, annotation = inputs
    peaks = pd.DataFrame(
        {"chrom": ["chr1", "chr1", "chrX"], "start": [2100, 2140, 5], "end": [2145, 2200, 9]}
    )
    blacklist = pd.DataFrame(
        {"chrom": ["chr1", "chr1"], "start": [9000, 9050], "end": [9010, 9060]}
    )
    counts, metrics = count_and_measure(
        fragments, peaks, rna, annotation, blacklist, mitochondrial="chrM", nucleosome_lines="all"
    )
    BARCODE_METRICS.check(metrics, "metrics")
    assert counts.X.toarray().tolist() == [[3, 3, 0], [0, 0, 0]]
    table = metrics.set_index("barcode")
    assert table["n_fragments"].tolist() == [4, 1]
    assert table["n_atac_in_peaks"].tolist() == [6, 0]
    assert table["frac_in_peaks"].tolist() == [1.5, 0]  # a fragment over two peaks counts twice
    assert table["frac_in_blacklist"].tolist() == [0.25, 1.0]
    assert table["nucleosome_signal"].tolist() == [1.0, np.inf]
    assert table["n_rna_umis"].tolist() == [4, 0]
    assert table["n_genes"].tolist() == [2, 0]
    assert table["frac_mitochondrial"].iloc[0] == 0.25
    assert np.isnan(table["frac_mitochondrial"].iloc[1])


def test_without_annotation_tss_enrichment_is_unknown(inputs):
    fragments, rna, _ = inputs
    regions = pd.DataFrame({"chrom": ["chr1"], "start": [2100], "end": [2200]})
    _, metrics = count_and_measure(
        fragments, regions, rna, None, regions, mitochondrial="chrM", nucleosome_lines="signac"
    )
    assert metrics["tss_enrichment"].isna().all()
    BARCODE_METRICS.check(metrics, "metrics")


def tss_oracle(fragments, positions, barcodes):
    """Signac's fast score by plain loops over fragments and windows (1-based, closed)."""
    centre, flanks = dict.fromkeys(barcodes, 0), dict.fromkeys(barcodes, 0)
    for t in positions:
        windows = [
            (t - 500, t + 500, centre),
            (t - 1000, t - 901, flanks),
            (t + 901, t + 1000, flanks),
        ]
        for first, last, total in windows:
            for start, end, barcode in fragments:
                if start < last and end > first - 1:
                    cuts = (start - first - 1, end - first - 1)
                    total[barcode] += sum(1 <= p <= last - first + 1 for p in cuts)
    background = np.array([flanks[b] / 200 for b in barcodes])
    background[background == 0] = background.mean()
    return np.array([centre[b] for b in barcodes]) / background / 1001


def test_tss_enrichment_equals_plain_loops(tmp_path):
    generator = np.random.default_rng(4)
    barcodes = ["AA", "BB", "CC"]
    start = generator.integers(3000, 9000, size=3000)
    end = start + generator.integers(20, 700, size=3000)
    barcode = generator.choice(barcodes[:2], size=3000)
    fragments = list(zip(start.tolist(), end.tolist(), barcode.tolist(), strict=True))
    fragments.append((6000, 6010, "CC"))  # nothing beside a TSS: the mean background is taken
    path = tmp_path / "fragments.tsv"
    path.write_text("".join(f"chr1\t{s}\t{e}\t{b}\t1\n" for s, e, b in fragments))
    annotation = genes(
        ("E1", "A", "protein_coding", "chr1", 4999, 20_000, "+"),
        ("E2", "B", "protein_coding", "chr1", 100, 6100, "-"),
        ("E3", "C", "lncRNA", "chr1", 3999, 20_000, "+"),
        ("E4", "D", "protein_coding", "chrM", 3999, 20_000, "+"),
    )
    found = measure_fragments(path, annotation, barcodes)["tss_enrichment"]
    np.testing.assert_allclose(found, tss_oracle(fragments, [5000, 6100], barcodes), rtol=1e-12)


def test_signac_reads_the_first_lines_of_the_file_only(tmp_path):
    path = tmp_path / "fragments.tsv"
    first = ["chr1\t10\t110\tAA\t1\n"] * 5000
    path.write_text("".join([*first, *["chr1\t10\t210\tAA\t1\n"] * 10]))
    annotation = genes(("E1", "A", "protein_coding", "chr1", 50_000, 60_000, "+"))
    signals = [
        measure_fragments(path, annotation, ["AA"], nucleosome_lines=lines)["nucleosome_signal"][0]
        for lines in ("signac", "all")
    ]
    assert signals == [0, 10 / 5000]
    assert nucleosome_line_limit("signac", n_barcodes=3) == 15_000
