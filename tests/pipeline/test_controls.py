"""What must be at chance is at chance: types and expression of other cells, through every stage."""

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
            "integration": ["pca"],
            "annotation": ["majority", "lsi_logistic"],
            "expression": ["lsi_ridge"],
            "integration_datasets": ["ALLTissue"],
            "ablation_datasets": [],
        },
    }
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    return tmp_path


def test_types_and_rna_of_other_cells_are_not_predicted(shuffled, snakemake):
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
