"""Gene body and promoter counts."""

import pandas as pd

from epifoundation.data.gene_activity import activity_regions, gene_activity


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
