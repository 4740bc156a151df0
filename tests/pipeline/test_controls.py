"""What must be at chance is at chance, through every stage.

Types and expression of other cells are not predicted, and a random embedding holds no types. What
a control without power would pass too is told by what the demo's own cells give: there LSI with
logistic regression and with ridge find types and expression (Pearson's r .13), and neighbours in
PCA share a type twice as often as chance. Of expression `lsi_ridge` alone has power: the demo's
model, trained briefly on few cells, is near 0 on its own cells too.
"""

import mudata
import numpy as np
import pandas as pd
import pytest
import yaml

from epifoundation.samples import COLUMNS

pytestmark = pytest.mark.slow


@pytest.fixture
def shuffled(demo, tmp_path):
    """The demo's kidney cells, each with the type and the RNA of another cell."""
    mudata.set_options(pull_on_update=False)
    cells = mudata.read_h5mu(demo / "atlas/miniatlas/Kidney.h5mu")
    rng = np.random.default_rng(0)
    rna = cells["rna"][rng.permutation(cells.n_obs)].copy()
    rna.obs_names = cells.obs_names
    mixed = mudata.MuData({"rna": rna, "atac": cells["atac"].copy()})
    mixed.obs = cells.obs[["batch"]].copy()
    mixed.obs["cell_type"] = rng.permutation(cells.obs["cell_type"].astype(str))
    mixed.write_h5mu(tmp_path / "shuffled.h5mu")

    row = dict.fromkeys(COLUMNS, "") | {
        "sample": "shuffled",
        "atlas": "shuffled",
        "role": "atlas",
        "tissue": "kidney",
        "entry": "matrices",
        "rna": str(tmp_path / "shuffled.h5mu"),
        "atac": str(tmp_path / "shuffled.h5mu"),
    }
    pd.DataFrame([row]).to_csv(tmp_path / "samples.tsv", sep="\t", index=False)
    overlay = {
        "results_dir": str(tmp_path / "results"),
        "samples": str(tmp_path / "samples.tsv"),
        "pretrain": {"epochs": 5},
        "benchmark": {
            "integration": ["pca", "random"],
            "annotation": ["majority", "lsi_logistic"],
            "expression": ["lsi_ridge"],
            "integration_datasets": ["ALLTissue"],
            "ablation_datasets": [],
        },
    }
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    return tmp_path


def hold_no_types(metrics, method, shares):
    """Check that neighbours are of one type as often as any two cells, by the types' shares.

    The bound is some four standard errors of 160 cells' neighbours; clusters agree with types as
    random ones do.
    """
    assert abs(metrics["integration", method, "gc_text"] - (shares**2).sum()) < 0.05
    assert abs(metrics["integration", method, "ari"]) < 0.05


def test_types_and_rna_of_other_cells_are_not_predicted(shuffled, demo, snakemake):
    overlays = ("config/demo.yaml", "config/demo_matrices.yaml", shuffled / "overlay.yaml")
    target = shuffled / "results/metrics.tsv"
    run = snakemake("--configfile", *overlays, "--", target)
    assert run.code == 0, run.output[-4000:]
    metrics = pd.read_csv(target, sep="\t").set_index(["task", "method", "metric"])["value"]
    n_test = 160
    chance = 1 / 6 + 4 * np.sqrt(1 / 6 * 5 / 6 / n_test)  # six types, four standard errors
    for method in ("lsi_logistic", "epifoundation"):
        assert metrics["annotation", method, "accuracy"] < max(chance, 0.3)
        assert abs(metrics["annotation", method, "roc_auc"] - 0.5) < 0.1
    for method in ("lsi_ridge", "epifoundation"):
        assert abs(metrics["expression", method, "pearson"]) < 0.02

    own = pd.read_csv(demo / "metrics.tsv", sep="\t")
    own = own[(own["dataset"] == "Kidney") & (own["protocol"] == "paper") & (own["seed"] == 0)]
    own = own.set_index(["task", "method", "metric"])["value"]
    cells = mudata.read_h5mu(shuffled / "shuffled.h5mu")
    shares = cells.obs["cell_type"].value_counts(normalize=True)  # those of the demo's cells too
    for method in ("random", "pca", "epifoundation"):
        hold_no_types(metrics, method, shares)
    hold_no_types(own, "random", shares)
    for found in (own["integration", "random", "nmi"], metrics["integration", "pca", "nmi"]):
        assert found < own["integration", "pca", "nmi"] / 2
    # Power: on cells with their own types and RNA the same methods are far from chance.
    assert own["integration", "pca", "gc_text"] > (shares**2).sum() + 0.15
    assert own["expression", "lsi_ridge", "pearson"] > 0.06
