"""Gene body and promoter counts."""

import numpy as np
import pandas as pd
import pytest

from epifoundation.data.gene_activity import activity_regions, gene_activity, log_normalized
from epifoundation.errors import DataError


def test_regions_reach_upstream_by_strand_and_leave_out_wide_genes():
    genes = pd.DataFrame(
        [
            ("E1", "A", "protein_coding", "chr1", 5_000, 6_000, "+"),
            ("E2", "B", "protein_coding", "chr1", 500, 900, "+"),
            ("E3", "C", "protein_coding", "chr1", 5_000, 6_000, "-"),
            ("E4", "D", "lncRNA", "chr1", 5_000, 6_000, "+"),
            ("E5", "E", "protein_coding", "chr1", 0, 500_000, "+"),
            ("E6", "F", "protein_coding", "chr1", 0, 499_999, "-"),
        ],
        columns=["gene_id", "gene_name", "gene_type", "chrom", "start", "end", "strand"],
    )
    regions = activity_regions(genes).set_index("gene_name")[["start", "end"]]
    assert regions.to_dict("split")["data"] == [
        [3_000, 6_000],
        [0, 900],
        [5_000, 8_000],
        [0, 501_999],
    ]
    assert regions.index.tolist() == ["A", "B", "C", "F"]


def test_counts_follow_the_annotation(tmp_path):
    gtf, fragments = tmp_path / "genes.gtf", tmp_path / "fragments.tsv"
    gtf.write_text(
        'chr1\ts\tgene\t3001\t4000\t.\t+\t.\tgene_id "E1"; gene_type "protein_coding";\n'
        'chr9\ts\tgene\t1\t9\t.\t+\t.\tgene_id "E2"; gene_type "protein_coding";\n'
        'chr1\ts\tgene\t3001\t4000\t.\t+\t.\tgene_id "E3"; gene_type "protein_coding";\n'
    )
    fragments.write_text("chr1\t900\t1001\tAA\t1\nchr1\t900\t1000\tAA\t1\n")
    activity = gene_activity(fragments, gtf, ["AA"])
    assert activity.var_names.tolist() == ["E1", "E3"]
    assert activity.X.toarray().tolist() == [[1, 1]]
    assert activity.var["gene_id"].tolist() == ["E1", "E3"]


def test_normalised_activity_keeps_its_counts(tmp_path):
    gtf, fragments = tmp_path / "genes.gtf", tmp_path / "fragments.tsv"
    gtf.write_text(
        'chr1\ts\tgene\t3001\t4000\t.\t+\t.\tgene_id "E1"; gene_type "protein_coding";\n'
        'chr1\ts\tgene\t9001\t9500\t.\t+\t.\tgene_id "E2"; gene_type "protein_coding";\n'
    )
    lines = ["chr1\t3000\t3100\tAA\t1\n"] * 3 + ["chr1\t9000\t9100\tAA\t1\n"]
    fragments.write_text("".join(lines))
    counts = gene_activity(fragments, gtf, ["AA", "BB"])
    normalized = log_normalized(counts)
    assert normalized.layers["counts"].toarray().tolist() == [[3, 1], [0, 0]]
    expected = np.log1p([[7500, 2500], [0, 0]])
    np.testing.assert_allclose(normalized.X.toarray(), expected, rtol=1e-12)
    assert counts.X.dtype == np.int32


def test_an_annotation_without_types_is_refused(tmp_path):
    gtf = tmp_path / "genes.gtf"
    gtf.write_text('chr1\ts\tgene\t3001\t4000\t.\t+\t.\tgene_id "E1";\n')
    with pytest.raises(DataError, match=r"genes\.gtf: none of its 1 genes has a type \(first: E1"):
        gene_activity(tmp_path / "fragments.tsv", gtf, ["AA"])
