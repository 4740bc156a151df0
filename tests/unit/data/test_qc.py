"""Barcode metrics."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.contracts import BARCODE_METRICS
from epifoundation.data.qc import count_and_measure, measure_fragments
from epifoundation.errors import DataError


def genes(*rows):
    columns = ["gene_id", "gene_name", "gene_type", "chrom", "start", "end", "strand"]
    return pd.DataFrame(rows, columns=columns)


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
        fragments, peaks, rna, annotation, blacklist, mitochondrial="chrM"
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
    _, metrics = count_and_measure(fragments, regions, rna, None, regions, mitochondrial="chrM")
    assert metrics["tss_enrichment"].isna().all()
    BARCODE_METRICS.check(metrics, "metrics")


def tss_oracle(fragments, positions, barcodes):
    """Signac's fast score by plain loops over fragments and windows (1-based, closed)."""
    centre, flanks = dict.fromkeys(barcodes, 0), dict.fromkeys(barcodes, 0)
    for t in positions:
        windows = [  # half a base is added and truncated towards zero
            (int(t + 0.5 - 500), t + 500, centre),
            (int(t + 0.5 - 1000), int(t + 0.5 - 901), flanks),
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


def slow_tss_oracle(fragments, tss, barcodes):
    """Signac's slow score from the whole matrix of cells × positions, minus strands reversed."""
    matrix = np.zeros((len(barcodes), 2001))
    for t, strand in tss:
        first = int(t + 0.5 - 1000)
        for start, end, barcode in fragments:
            if start < t + 1000 and end > first - 1:
                for p in (start - first - 1, end - first - 1):
                    if 1 <= p <= t + 1000 - first + 1:
                        matrix[barcodes.index(barcode), (2002 - p if strand == "-" else p) - 1] += 1
    background = np.hstack([matrix[:, :100], matrix[:, 1901:]]).mean(axis=1)
    background[background == 0] = background.mean()
    return matrix[:, 499:1500].mean(axis=1) / background


@pytest.fixture
def around_tss(tmp_path):
    """Fragments of three barcodes around TSSs, one of which is near the chromosome's start."""
    generator = np.random.default_rng(4)
    barcodes = ["AA", "BB", "CC"]
    start = np.r_[generator.integers(3000, 9000, size=2500), generator.integers(0, 1800, size=500)]
    length = generator.integers(20, 700, size=3000)
    length[:200] = generator.integers(1, 5, size=200)  # shorter than the offset of a cut
    barcode = generator.choice(barcodes[:2], size=3000)
    fragments = list(zip(start.tolist(), (start + length).tolist(), barcode.tolist(), strict=True))
    fragments.append((6000, 6010, "CC"))  # nothing beside a TSS: the mean background is taken
    path = tmp_path / "fragments.tsv"
    path.write_text("".join(f"chr1\t{s}\t{e}\t{b}\t1\n" for s, e, b in fragments))
    annotation = genes(
        ("E1", "A", "protein_coding", "chr1", 4999, 20_000, "+"),
        ("E2", "B", "protein_coding", "chr1", 100, 6100, "-"),
        ("E3", "C", "lncRNA", "chr1", 3999, 20_000, "+"),
        ("E4", "D", "protein_coding", "chrM", 3999, 20_000, "+"),
        ("E5", "E", "protein_coding", "chr1", 499, 20_000, "+"),
    )
    return path, fragments, annotation, barcodes


def test_tss_enrichment_equals_plain_loops(around_tss):
    path, fragments, annotation, barcodes = around_tss
    found = measure_fragments(path, annotation, barcodes)["tss_enrichment"]
    expected = tss_oracle(fragments, [5000, 6100, 500], barcodes)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_slow_tss_enrichment_equals_the_matrix_of_positions(around_tss):
    path, fragments, annotation, barcodes = around_tss
    found = measure_fragments(path, annotation, barcodes, tss="slow")["tss_enrichment"]
    tss = [(5000, "+"), (6100, "-"), (500, "+")]
    np.testing.assert_allclose(found, slow_tss_oracle(fragments, tss, barcodes), rtol=1e-12)
    assert not np.allclose(found, tss_oracle(fragments, [5000, 6100, 500], barcodes))


def test_the_order_of_the_file_does_not_matter(around_tss, tmp_path):
    path, _, annotation, barcodes = around_tss
    lines = sorted(path.read_text().splitlines(), key=lambda line: int(line.split("\t")[1]))
    (tmp_path / "sorted.tsv").write_text("\n".join(lines) + "\n")
    blacklist = pd.DataFrame({"chrom": ["chr1"] * 2, "start": [3100, 3150], "end": [3200, 5000]})
    tables = [
        measure_fragments(file, annotation, barcodes, blacklist=blacklist, mitochondrial="chr1")
        for file in (path, tmp_path / "sorted.tsv")
    ]
    pd.testing.assert_frame_equal(*tables)
    assert (tables[0]["frac_fragments_mitochondrial"] == 1).all()


def test_another_naming_of_chromosomes_is_refused(around_tss, caplog):
    path, _, annotation, barcodes = around_tss
    ensembl = annotation.assign(chrom=annotation["chrom"].str.removeprefix("chr"))
    with pytest.raises(DataError, match=r"none of the 4 TSSs .* \(TSSs on 1, fragments on chr1\)"):
        measure_fragments(path, ensembl, barcodes)
    some = annotation.assign(chrom=["chr1", "1", "chr1", "chrM", "chr1"])
    measure_fragments(path, some, barcodes)
    assert (
        "1 of 3 TSSs are on chromosomes without fragments (first: 1). The other file" in caplog.text
    )


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


def test_an_annotation_of_mitochondrial_genes_alone_is_refused(around_tss):
    path, _, annotation, barcodes = around_tss
    with pytest.raises(DataError, match="none of the 0 TSSs"):
        measure_fragments(path, annotation.assign(chrom="chrM"), barcodes)
