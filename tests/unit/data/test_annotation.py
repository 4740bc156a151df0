"""Genes of a GTF."""

import pytest

from epifoundation.data.annotation import make_unique, protein_coding, read_genes
from epifoundation.errors import DataError

GTF = """#!genome-build test
chr1\ts\tgene\t11\t50\t.\t+\t.\tgene_id "E1"; gene_type "protein_coding"; gene_name "A";
chr1\ts\texon\t9\t20\t.\t+\t.\tgene_id "E1"; gene_type "protein_coding"; transcript_type "retained";
chr2\ts\tgene\t1\t5\t.\t-\t.\tgene_id "E2"; gene_biotype "lncRNA"; gene_name "A";
chr2\ts\tgene\t7\t9\t.\t*\t.\tgene_id "E3"; gene_type "protein_coding";
"""


@pytest.fixture
def gtf(tmp_path):
    path = tmp_path / "genes.gtf"
    path.write_text(GTF)
    return path


def test_a_gene_spans_its_rows_and_keeps_what_its_first_row_says(gtf):
    genes = read_genes(gtf)
    assert genes.to_dict("split")["data"] == [
        ["E1", "A", "protein_coding", "chr1", 8, 50, "+"],
        ["E2", "A.1", "lncRNA", "chr2", 0, 5, "-"],
        ["E3", "E3", "protein_coding", "chr2", 6, 9, "+"],
    ]
    assert protein_coding(genes)["gene_id"].tolist() == ["E1", "E3"]


def test_a_table_of_coordinates_is_read_as_well(tmp_path):
    path = tmp_path / "genes.csv"
    path.write_text("chrom,start,end,gene_id,gene_name,strand\nchr1,8,50,E1.7,A,+\n")
    genes = read_genes(path)
    assert genes.iloc[0].tolist() == ["E1.7", "A", "", "chr1", 8, 50, "+"]
    with pytest.raises(DataError, match=r"g\.csv: none of its 1 genes has a type \(first: E1\.7;"):
        protein_coding(genes, "g.csv")


def test_names_are_made_unique_as_in_r():
    assert make_unique(["A", "A", "B", "A", "A.1"]) == ["A", "A.2", "B", "A.3", "A.1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as GTF"),
        ("chr1\ts\tgene\t1\t5\t.\t+\t.\tname=A\n", "none of its 1 rows has an attribute gene_id"),
        ("chr1\ts\tgene\tx\t5\t.\t+\t.\tgene_id E\n", "cannot be read as GTF"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    path = tmp_path / "genes.gtf"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_genes(path)


def test_an_annotation_without_coding_genes_is_refused(gtf):
    genes = read_genes(gtf)
    with pytest.raises(DataError, match=r"none of its 1 genes .*types found: lncRNA"):
        protein_coding(genes[genes["gene_type"] == "lncRNA"])


def test_genes_that_lack_a_type_are_counted_where_others_have_one(gtf, caplog):
    read_genes(gtf)
    assert not caplog.records
    lines = GTF.splitlines(keepends=True)
    lines[1] = lines[1].replace(' gene_type "protein_coding";', "")
    lines[4] = lines[4].replace(' gene_type "protein_coding";', "")
    gtf.write_text("".join(lines))
    assert read_genes(gtf)["gene_type"].tolist() == ["", "lncRNA", ""]
    message = "2 of 3 genes have no type on their first line (first: E1; 1 of them have one on a"
    assert message in caplog.text
