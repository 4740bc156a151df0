import gzip

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.cli import main
from epifoundation.contracts import AGREEMENT, CLUSTERS, CONFUSION, LABELS
from epifoundation.multiome import multiome, read_multiome, write_multiome

GENES = [f"G{i}" for i in range(300)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Cells of two types in `cells.h5mu`, and profiles of these with and without atlas."""
    folder = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(0)
    kind = np.arange(80) % 2
    rates, openness = rng.gamma(0.5, 2, (2, 300)), rng.gamma(0.3, 2, (2, 400))
    names = [f"s#{i}" for i in range(80)]
    obs = pd.DataFrame(index=names)
    starts = np.arange(400) * 10
    peaks = pd.DataFrame({"chrom": "chr1", "start": starts, "end": starts + 5})
    peaks.index = [f"p{i}" for i in range(400)]
    cells = multiome(
        ad.AnnData(
            sparse.csr_matrix(rng.poisson(rates[kind])), obs=obs, var=pd.DataFrame(index=GENES)
        ),
        ad.AnnData(sparse.csr_matrix(rng.poisson(openness[kind])), obs=obs, var=peaks),
        pd.DataFrame({"cell_type": np.array(["Treg", "B cell"])[kind]}, index=names),
    )
    write_multiome(cells, folder / "cells.h5mu")
    for name, mark in (("atlas", "--blood"), ("plain", "")):
        columns = [f"Treg cell{mark}", f"B cell{mark}"]
        table = pd.DataFrame(np.log1p(rates.T), index=GENES, columns=columns)
        table.to_csv(folder / f"{name}.tsv", sep="\t")
    return folder


def run(command, folder, *arguments):
    return main([command, *(str(folder / a[1:]) if a.startswith("@") else a for a in arguments)])


def test_cells_are_clustered_labelled_and_the_sources_compared(folder):
    assert not run(
        "cluster",
        folder,
        "--input",
        "@cells.h5mu",
        "--output",
        "@clustered.h5mu",
        "--small-samples",
    )
    assert not run(
        "cluster-rna", folder, "--input", "@cells.h5mu", "--sample", "s", "--output", "@rna.tsv"
    )
    assert len(CLUSTERS.read(folder / "rna.tsv")) == 80
    label = ("--clusters", "@clustered.h5mu", "--min-shared-genes", "100", "--merge-synonyms")
    profiles = ("--profiles", "@atlas.tsv", "--atlas", "blood")
    assert not run("label", folder, *label, *profiles, "--output", "@wnn.tsv")
    assert not run(
        *("label", folder, *label, *profiles, "--rna-clusters", "@rna.tsv", "--method", "cellid"),
        *("--output", "@rna_labels.tsv"),
    )
    assert set(LABELS.read(folder / "wnn.tsv")["cell_type"]) == {"regulatory T cell", "B cell"}
    sources = (f"wnn={folder / 'wnn.tsv'}", f"rna={folder / 'rna_labels.tsv'}")
    assert not run(
        *("compare-labels", folder, "--labels", *sources, "--given", "@cells.h5mu"),
        *("--output", "@agreement.tsv", "--confusion", "@confusion.tsv"),
    )
    agreement = AGREEMENT.read(folder / "agreement.tsv")
    assert set(zip(agreement["one"], agreement["other"], strict=True)) == {
        ("given", "wnn"),
        ("given", "rna"),
        ("wnn", "rna"),
    }
    assert (agreement["agreement"] > 0.95).all()
    assert CONFUSION.read(folder / "confusion.tsv")["n_cells"].sum() == 240


def test_an_atlas_that_no_profile_names_is_not_ignored(folder, capsys):
    arguments = ("--clusters", "@cells.h5mu", "--profiles", "@plain.tsv", "--output", "@no.tsv")
    assert run("label", folder, *arguments, "--atlas", "blood") == 2
    assert "--atlas blood: the profiles of" in (said := capsys.readouterr().err)
    assert "name no atlas" in said
    assert "'Treg cell'" in said
    assert run("label", folder, *arguments) == 2
    assert "obs lacks cluster" in capsys.readouterr().err


def test_sources_without_a_name_are_refused(folder, capsys):
    assert run("compare-labels", folder, "--labels", "a.tsv", "--output", "@no.tsv") == 2
    assert "--labels a.tsv: write NAME=FILE" in capsys.readouterr().err


def test_clusters_on_rna_label_cells_that_are_named_by_barcode_alone(folder, capsys):
    cells = read_multiome(folder / "cells.h5mu")
    for part in (cells["rna"], cells["atac"]):
        part.obs_names = [f"AC{name.removeprefix('s#')}-1" for name in part.obs_names]
    bare = multiome(cells["rna"], cells["atac"])
    bare.obs["cluster"] = "0"
    write_multiome(bare, folder / "bare.h5mu")
    into = ("--sample", "a", "--output", "@bare.tsv")
    assert not run("cluster-rna", folder, "--input", "@bare.h5mu", *into)
    assert CLUSTERS.read(folder / "bare.tsv")["barcode"][0] == "a#AC0-1"
    label = ("label", folder, "--clusters", "@bare.h5mu", "--profiles", "@plain.tsv")
    label = (*label, "--min-shared-genes", "100", "--output", "@bare_labels.tsv")
    assert not run(*label, "--rna-clusters", "@bare.tsv")
    labels = LABELS.read(folder / "bare_labels.tsv")
    assert labels["barcode"][0] == "AC0-1"
    assert set(labels["cell_type"]) == {"Treg cell", "B cell"}
    (folder / "other.tsv").write_text("barcode\tcluster\nb#XX-1\t0\n")
    assert run(*label, "--rna-clusters", "@other.tsv") == 2
    assert "(first: AC0-1; the clusters have b#XX-1)" in capsys.readouterr().err


@pytest.mark.parametrize("sample", ["", "a b", "a#b"])
def test_a_sample_must_have_a_name(folder, capsys, sample):
    arguments = ("--input", "@cells.h5mu", "--sample", sample, "--output", "@no.tsv")
    assert run("cluster-rna", folder, *arguments) == 2
    assert f"--sample {sample!r}: a name has letters" in capsys.readouterr().err


def counts_of_genes_and_peaks(folder):
    """RNA of cells 0-39 and, as `count` writes it, ATAC of cells 79-0."""
    cells = read_multiome(folder / "cells.h5mu")
    cells["rna"][:40].copy().write_h5ad(folder / "rna.h5ad")
    atac = cells["atac"][::-1].copy()
    atac.var_names = [f"chr1:{start}-{start + 5}" for start in atac.var["start"]]
    atac.write_h5ad(folder / "atac.h5ad")
    return cells, atac


def test_counts_of_both_kinds_become_cells_to_cluster(folder, capsys):
    cells, atac = counts_of_genes_and_peaks(folder)
    arguments = ("pair", folder, "--rna", "@rna.h5ad", "--atac", "@atac.h5ad")
    assert run(*arguments, "--output", "@paired.h5mu") == 2
    assert "40 are in ATAC only" in (said := capsys.readouterr().err)
    assert "pair --common" in said
    assert not run(*arguments, "--common", "--output", "@paired.h5mu")
    paired = read_multiome(folder / "paired.h5mu")
    assert paired.obs_names.tolist() == cells.obs_names[:40].tolist()
    assert (paired["atac"].X != atac[paired.obs_names].X).nnz == 0
    clustered = ("--output", "@clustered_pair.h5mu", "--small-samples")
    assert not run("cluster", folder, "--input", "@paired.h5mu", *clustered)
    assert run(*arguments, "--output", "@paired.h5ad") == 2
    assert "paired.h5ad: what is written is .h5mu" in capsys.readouterr().err


def test_a_multiome_whose_peaks_have_names_alone_becomes_usable(folder, capsys):
    cells, atac = counts_of_genes_and_peaks(folder)
    atac.var = atac.var[[]]
    md.MuData({"rna": cells["rna"], "atac": atac[::-1]}).write_h5mu(folder / "named.h5mu")
    output = ("--output", "@from_names.h5mu")
    assert run("cluster", folder, "--input", "@named.h5mu", *output) == 2
    assert "`epifoundation pair` with the file as --rna and as --atac" in capsys.readouterr().err
    assert not run("pair", folder, "--rna", "@named.h5mu", "--atac", "@named.h5mu", *output)
    assert read_multiome(folder / "from_names.h5mu")["atac"].var["start"].tolist()[:2] == [0, 10]


def test_peaks_are_not_taken_for_genes(folder, capsys):
    counts_of_genes_and_peaks(folder)
    arguments = ("--input", "@atac.h5ad", "--sample", "s", "--output", "@no.tsv")
    assert run("cluster-rna", folder, *arguments) == 2
    assert "400 of 400 features are regions, not genes (first: chr1:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "given", "message"),
    [
        ("empty.tsv", "cells.h5mu", "empty.tsv cannot be read as a table (No columns to parse"),
        ("cut.tsv.gz", "cells.h5mu", "cut.tsv.gz cannot be read as a table (Compressed file ended"),
        ("cells.h5mu", "cells.h5mu", "cells.h5mu cannot be read as a table ("),
        ("absent.tsv", "cells.h5mu", "absent.tsv: No such file or directory"),
        ("good.tsv", "good.tsv", "good.tsv cannot be read as h5mu or h5ad ("),
        ("good.tsv", "absent.h5mu", "absent.h5mu does not exist"),
        ("good.tsv", "rna_only.h5ad", "rna_only.h5ad gives no cell type of the 1 cells labelled"),
        ("good.tsv", None, "there is one source of labels only"),
    ],
)
def test_sources_that_cannot_be_compared_are_one_line(folder, capsys, labels, given, message):
    (folder / "empty.tsv").write_text("")
    text = "barcode\tcluster\tcell_type\tscore\tmargin\trunner_up\tcell_ontology_id\n"
    text += "s#0\t0\tTreg\t1\t1\t\t\n"
    (folder / "good.tsv").write_text(text)
    (folder / "cut.tsv.gz").write_bytes(gzip.compress(text.encode())[:-12])
    ad.AnnData(np.ones((1, 1)), obs=pd.DataFrame(index=["s#0"])).write_h5ad(
        folder / "rna_only.h5ad"
    )
    arguments = ["compare-labels", folder, "--labels", f"a={folder / labels}"]
    arguments += ["--output", "@no.tsv"]
    if given:
        arguments += ["--given", str(folder / given)]
    assert run(*arguments) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors
    assert not (folder / "no.tsv").exists()


def test_sources_of_one_name_or_of_other_cells_are_refused(folder, capsys):
    header = "barcode\tcluster\tcell_type\tscore\tmargin\trunner_up\tcell_ontology_id\n"
    for name, cell in (("here", "s#0"), ("there", "t#0")):
        row = f"{cell}\t0\tTreg\t1\t1\t\t\n"
        (folder / f"{name}.tsv").write_text(header + row)
    here, there = folder / "here.tsv", folder / "there.tsv"
    arguments = ("--labels", f"a={here}", f"a={there}", "--output", "@no.tsv")
    assert run("compare-labels", folder, *arguments) == 2
    assert "1 of the names of 2 files repeat (first: a)" in capsys.readouterr().err
    arguments = ("--labels", f"a={here}", f"b={there}", "--output", "@no.tsv")
    assert run("compare-labels", folder, *arguments) == 2
    assert "labels of b and the other source have no cell in common" in capsys.readouterr().err
    assert not (folder / "no.tsv").exists()
