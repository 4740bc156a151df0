"""The workflow on real cells."""

import h5py
import mudata
import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow
MARKERS = {
    "T": ("CD3E", "CD3D", "IL7R"),
    "B": ("MS4A1", "CD79A"),
    "myeloid": ("LYZ", "CD14", "S100A8"),
}


def test_real_blood_from_fragments_to_clusters(shared, snakemake, root):
    run = snakemake("--configfile", "config/pbmc_fragments_real.yaml", "--", "clusters")
    assert run.code == 0, run.output[-4000:]
    results = root / "results-pbmc-fragments"
    mudata.set_options(pull_on_update=False)
    cells = mudata.read_h5mu(results / "labels/pbmc/pbmc_1k/clustered.h5mu")

    with h5py.File(shared / "data/pbmc_multiome_fragments/test_rna_atac.h5mu") as original:
        names = pd.Series(original["mod/atac/var/_index"].asstr()[:])
    windows = names.str.extract(r"(chr\w+)[:-](\d+)-(\d+)")
    starts, ends = windows[1].astype(int), windows[2].astype(int)
    peaks = cells["atac"].var
    fragments = pd.read_csv(
        shared / "data/pbmc_multiome_fragments/test_rna_atac_fragments.tsv.gz",
        sep="\t",
        comment="#",
        names=["chrom", "start", "end", "barcode", "count"],
    )
    fragments = fragments.sort_values(["chrom", "start"])
    reached = fragments.groupby("chrom")["end"].cummax().groupby(fragments["chrom"]).shift()
    window = (fragments["start"] > reached.fillna(-1) + 10_000) | reached.isna()
    covered = fragments.groupby(window.cumsum()).agg(
        chrom=("chrom", "first"), start=("start", "min"), end=("end", "max")
    )
    assert len(covered) < 60  # the windows around 45 genes
    first, last = covered["start"] - 100, covered["end"]  # MACS2 extends by 100 bp
    inside = [
        bool(((covered["chrom"] == c) & (first <= s) & (last >= e)).any())
        for c, s, e in zip(peaks["chrom"], peaks["start"], peaks["end"], strict=True)
    ]
    assert all(inside)
    near = [
        bool(((windows[0] == c) & (starts - 5_000 < e) & (ends + 5_000 > s)).any())
        for c, s, e in zip(peaks["chrom"], peaks["start"], peaks["end"], strict=True)
    ]
    assert np.mean(near) > 0.7  # of the peaks that were shipped

    expressed = cells["rna"].to_df()
    clusters = cells.obs["cluster"].astype(str)
    highest = {}
    for name, genes in MARKERS.items():
        present = [gene for gene in genes if gene in expressed]
        assert present, f"no {name} marker among {list(expressed)}"
        mean = expressed[present].sum(axis=1).groupby(clusters).mean()
        assert mean.max() > 5 * mean.min(), f"{name}: {mean.to_dict()}"
        highest[name] = mean.idxmax()
    assert len(set(highest.values())) == len(MARKERS), highest


def test_real_marrow_to_tables(shared, snakemake, root):
    run = snakemake("--configfile", "config/bmmc_real.yaml", "--", "tables")
    assert run.code == 0, run.output[-4000:]
    metrics = pd.read_csv(root / "results-bmmc/metrics.tsv", sep="\t")
    annotation = metrics[metrics["task"] == "annotation"]
    assert set(annotation["atlas"]) == {"bmmc_B", "bmmc_D"}
    wanted = {"epifoundation", "majority", "depth_only", "lsi_logistic"}
    assert wanted <= set(annotation["method"])
    accuracies = annotation[annotation["metric"] == "accuracy"]  # others may be of some cells
    same_cells = accuracies.groupby("atlas")["n_cells"].nunique()
    assert (same_cells == 1).all()
    assert (root / "results-bmmc/tables/table2.md").read_text().count("EpiFoundation") >= 2
