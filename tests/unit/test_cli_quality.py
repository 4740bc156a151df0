"""`qc` and `gene-activity` as a user runs them, on good files and on bad ones."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.cli import main
from epifoundation.contracts import BARCODE_METRICS, QC_ALTERNATIVES, QC_FUNNEL

GENE = 'chr1\ts\tgene\t4501\t9000\t.\t+\t.\tgene_id "E1"; gene_type "protein_coding";\n'


@pytest.fixture
def files(tmp_path):
    random = np.random.default_rng(0)
    start = np.sort(random.integers(3_000, 6_000, 4_000))
    end = start + random.integers(30, 300, 4_000)
    barcode = random.choice(["AA-1", "BB-1"], 4_000)
    rows = zip(start, end, barcode, strict=True)
    lines = [f"chr1\t{s}\t{e}\t{b}\t1\n" for s, e, b in rows]
    (tmp_path / "f.tsv").write_text("".join([*lines, "chrM\t5\t99\tAA-1\t1\n"]))
    (tmp_path / "g.gtf").write_text(GENE)
    (tmp_path / "b.txt").write_text("BB-1\nAA-1\n")
    (tmp_path / "p.bed").write_text("chr1\t4000\t5000\n")
    return tmp_path


def run(files, command, *options, **changed):
    given = {"fragments": "f.tsv", "annotation": "g.gtf", "barcodes": "b.txt", "output": "o"}
    arguments = [command, *options]
    for name, value in {**given, **changed}.items():
        arguments += [f"--{name}", str(files / value)]
    return main(arguments)


def test_the_settings_choose_the_metric(files):
    assert run(files, "qc", "--mitochondrial", "chrM", peaks="p.bed", blacklist="p.bed") == 0
    fast = pd.read_csv(files / "o", sep="\t")
    assert fast["barcode"].tolist() == ["BB-1", "AA-1"]
    assert fast["n_fragments"].sum() == 4001
    assert (fast["frac_in_peaks"] == fast["frac_in_blacklist"]).all()
    n_mitochondrial = fast["frac_fragments_mitochondrial"] * fast["n_fragments"]
    np.testing.assert_allclose(n_mitochondrial, [0, 1])
    assert run(files, "qc", "--tss", "slow", "--nucleosome-lines", "signac") == 0
    slow = pd.read_csv(files / "o", sep="\t")
    assert (slow["tss_enrichment"] != fast["tss_enrichment"]).any()
    assert slow["nucleosome_signal"].equals(fast["nucleosome_signal"])  # the file is short
    assert "frac_in_peaks" not in slow


@pytest.mark.parametrize("judged", [False, True])
def test_peaks_are_checked_as_count_checks_them(files, rna, capsys, judged):
    given = JUDGED if judged else {"peaks": "p.bed"}
    limits = ["--limit", "min_atac_reads=100", "min_tss_enrichment=null"] if judged else []
    (files / "sizes").write_text("chr1\t4500\n")
    bad = {
        "chr1\t4000\t5000\n" * 2: "1 of 2 peaks are listed twice",
        "": "p.bed holds no peak",
        "chr1\t4000\t4501\n": "1 of 1 regions end beyond their chromosome",
        "chr1\t4000\t4500\n": "fragments start beyond the end of their chromosome",
    }
    before = sorted(files.iterdir())
    for text, message in bad.items():
        (files / "p.bed").write_text(text)
        changed = {**given, "chrom-sizes": "sizes"}
        assert run(files, "qc", *limits, **changed) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
        assert sorted(files.iterdir()) == before
    (files / "sizes").write_text("chr1\t9000\nchrM\t16569\n")
    assert run(files, "qc", *limits, **changed) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["MT", "mito"])
def test_a_mitochondrial_name_without_fragments_is_warned_of(files, caplog, name):
    assert run(files, "qc", "--mitochondrial", name) == 0
    said = f"no fragment is on {name}, given as the mitochondrial chromosome (there are chrM)"
    assert said in caplog.text


@pytest.fixture
def rna(files):
    counts = ad.AnnData(
        sparse.csr_matrix(np.array([[900, 200], [700, 100], [9, 9]], dtype=np.int32)),
        obs=pd.DataFrame(index=["AA-1", "BB-1", "CC-1"]),
        var=pd.DataFrame({"gene_ids": ["E1", "E2"]}, index=["A", "B"]),
    )
    counts.write_h5ad(files / "rna.h5ad")
    return files / "rna.h5ad"


JUDGED = {"peaks": "p.bed", "rna": "rna.h5ad", "cells": "c.txt", "funnel": "f", "alternatives": "a"}


def test_the_six_criteria_by_command(files, rna):
    limits = ["--limit", "min_atac_reads=100", "min_tss_enrichment=null"]
    assert run(files, "qc", *limits, output="m.tsv", **JUDGED) == 0
    assert (files / "c.txt").read_text() == "AA-1\n"  # BB-1 has 800 UMIs, below the paper's 1,000
    metrics = BARCODE_METRICS.read(files / "m.tsv")
    assert metrics["n_rna_umis"].tolist() == [800, 1100]
    funnel = QC_FUNNEL.read(files / "f").set_index("criterion")
    assert funnel.loc["min_rna_umis", "n_removed"] == 1
    assert funnel.loc["min_tss_enrichment", "note"] == "not applied: no limit is set"
    alternatives = QC_ALTERNATIVES.read(files / "a").set_index("setting")
    assert alternatives.loc["atac_reads", "n_cells_alternative"] == 1


def test_where_no_cell_is_left_the_tables_say_why(files, rna, capsys):
    assert run(files, "qc", "--limit", "min_atac_reads=5000", output="m.tsv", **JUDGED) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "no cell is left of 2 barcodes. min_atac_reads removes most" in error
    assert len(BARCODE_METRICS.read(files / "m.tsv")) == 2
    funnel = QC_FUNNEL.read(files / "f").set_index("criterion")
    assert funnel.loc["min_atac_reads", "n_removed"] == 2
    assert funnel.loc["kept", "n_barcodes"] == 0
    assert len(QC_ALTERNATIVES.read(files / "a"))
    assert not (files / "c.txt").exists()


@pytest.mark.parametrize(
    ("options", "changed", "message"),
    [
        (["--limit", "min_umis=3"], {}, "qc.min_umis: Extra inputs are not permitted"),
        (["--limit", "min_rna_umi=3"], {}, "(got '3'). Did you mean min_rna_umis?"),
        (["--limit", "min_rna_umis"], {}, "'min_rna_umis' is not NAME=VALUE"),
        ([], {"barcodes": "other.txt"}, "rna.h5ad: 1 of the 2 barcodes of"),
    ],
)
def test_criteria_that_cannot_judge_leave_nothing(files, rna, capsys, options, changed, message):
    (files / "other.txt").write_text("AA-1\nDD-1\n")
    (files / "p.bed").write_text("chr1\t4000\t4100\n")
    before = sorted(files.iterdir())
    assert run(files, "qc", *options, output="m.tsv", **{**JUDGED, **changed}) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert sorted(files.iterdir()) == before


def test_criteria_need_both_counts(files, capsys):
    assert run(files, "qc", cells="c.txt") == 2
    assert "give --rna and --peaks" in capsys.readouterr().err


def test_gene_activity_is_counts_unless_asked_for(files):
    assert run(files, "gene-activity", output="a.h5ad") == 0
    counts = ad.read_h5ad(files / "a.h5ad")
    assert counts.X.dtype == np.int32
    assert run(files, "gene-activity", "--normalize", output="a.h5ad") == 0
    normalized = ad.read_h5ad(files / "a.h5ad")
    assert (normalized.layers["counts"] != counts.X).nnz == 0
    np.testing.assert_allclose(normalized.X.toarray(), np.log1p(10_000))  # one gene has it all


BAD = [
    ("g.gtf", GENE.replace('; gene_type "protein_coding"', ""), "none of its 1 genes has a type"),
    ("g.gtf", GENE.replace("protein_coding", "lncRNA"), "types found: lncRNA"),
    ("g.gtf", GENE.removeprefix("chr"), "rename the chromosomes of one of them"),
    ("g.gtf", "gene\tE1\n", "g.gtf cannot be read as GTF"),
    (
        "b.txt",
        "AA\nBB\n",
        "none of the 2 barcodes asked for is in its 4,001 fragments (asked for AA",
    ),
    ("b.txt", "AA-1\nAA-1\n", "b.txt: 1 of its 2 barcodes are listed more than once (first: AA-1"),
    ("b.txt", "\n\n", "b.txt holds no barcode"),
]


@pytest.mark.parametrize("command", ["qc", "gene-activity"])
@pytest.mark.parametrize(("name", "text", "message"), BAD)
def test_bad_input_is_one_line_and_leaves_nothing(files, capsys, command, name, text, message):
    (files / name).write_text(text)
    before = sorted(files.iterdir())
    assert run(files, command, output="o.h5ad") == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(files.iterdir()) == before


def test_values_out_of_range_are_one_line(tmp_path, capsys):
    assert main(["simulate", "--seed", "-1", "--output", str(tmp_path / "s")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: simulate.seed: Input should be greater than or equal to 0")
    assert not list(tmp_path.iterdir())
