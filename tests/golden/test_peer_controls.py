"""The controls against what other code reached with them on the same splits of real cells."""

from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.evaluation.annotation import annotation_metrics, prediction_table
from epifoundation.evaluation.baselines import ANNOTATION, EXPRESSION
from epifoundation.evaluation.baselines.cells import AnnotationCells, ExpressionCells
from epifoundation.evaluation.expression import expression_metrics

# the files of others are older than anndata's present format
pytestmark = pytest.mark.filterwarnings("ignore::anndata.OldFormatWarning")

FILES = {"BMMC_B": "B_abffffe.atac.h5ad", "BMMC_D": "D_e056d38.atac.h5ad"}
PARTS = {"fit": "train", "val": "validation", "test": "test"}
SEEDS = range(5)
ANNOTATION_PEERS = [
    ("depth_only", "depth only+LR"),
    ("lsi_logistic", "LSI+LR"),
    ("binary_logistic", "binary+LR"),
    ("binary_naive_bayes", "binary+MNB"),
]
EXPRESSION_PEERS = [
    ("gene_mean", "gene mean"),
    ("depth_only", "depth only+ridge"),
    ("lsi_ridge", "LSI+ridge"),
    ("binary_ridge", "binary+ridge"),
]


@dataclass(frozen=True)
class Peers:
    """Recorded means over the seeds, and our values by seed."""

    recorded: pd.Series
    annotation: pd.DataFrame
    expression: pd.DataFrame


@pytest.fixture(scope="module", params=FILES)
def peers(request, shared):
    folder = shared / "peer_bench"
    results = pd.read_csv(folder / "results.tsv", sep="\t")
    own = results[(results["dataset"] == request.param) & results["seed"].isin(SEEDS)]
    cells = ad.read_h5ad(shared / "data" / "bmmc_neurips2021" / FILES[request.param])
    peaks = sparse.csr_matrix(cells.layers["counts"] > 0, dtype=np.float32)
    levels = sparse.csr_matrix(np.load(folder / f"{request.param}_bins10.npz")["bins"])
    annotation, expression = [], []
    for seed in SEEDS:
        split = np.full(cells.n_obs, "", dtype=object)
        for name, part in PARTS.items():
            path = folder / "splits" / request.param / f"seed{seed}.{name}.txt"
            split[cells.obs_names.isin(path.read_text().split())] = part
        used = split != ""
        types = cells.obs["cell_type"].astype(str).to_numpy(dtype=object)[used]
        truth = cells.obs["cell_type"][used][split[used] == "test"]
        for method in ("majority", *dict(ANNOTATION_PEERS)):
            known = AnnotationCells(peaks[used], types, split[used])
            scores = ANNOTATION[method].run(known, seed)
            values = annotation_metrics(prediction_table(truth.index, *scores), truth)
            annotation.append({"method": method, **{k: v.value for k, v in values.items()}})
        known = ExpressionCells(peaks[used], levels[used], split[used], 10)
        target = known.levels[known.split == "test"]
        varying = np.ptp(target.toarray(), axis=0) > 0
        for method in dict(EXPRESSION_PEERS):
            predicted = EXPRESSION[method].run(known, seed)
            values = expression_metrics(target[:, varying], predicted[:, varying])
            expression.append({"method": method, **{k: v.value for k, v in values.items()}})
    return Peers(
        own.groupby(["method", "metric"])["value"].mean(),
        pd.DataFrame(annotation).groupby("method").mean(),
        pd.DataFrame(expression).groupby("method").mean(),
    )


def test_majority(peers):
    ours = peers.annotation.loc["majority"]
    assert ours["accuracy"] == pytest.approx(peers.recorded["majority", "accuracy"], abs=1e-5)
    assert ours["macro_f1"] == pytest.approx(peers.recorded["majority", "f1_macro"], abs=1e-5)
    assert ours["roc_auc"] == 0.5


@pytest.mark.parametrize(("method", "peer"), ANNOTATION_PEERS)
def test_annotation(peers, method, peer):
    ours = peers.annotation.loc[method]
    assert ours["accuracy"] == pytest.approx(peers.recorded[peer, "accuracy"], abs=0.02)
    assert ours["macro_f1"] == pytest.approx(peers.recorded[peer, "f1_macro"], abs=0.02)
    assert ours["roc_auc"] == pytest.approx(peers.recorded[peer, "auc_ovr_macro"], abs=0.02)


@pytest.mark.parametrize(("method", "peer"), EXPRESSION_PEERS)
def test_expression(peers, method, peer):
    ours = peers.expression.loc[method]
    assert ours["mse"] == pytest.approx(peers.recorded[peer, "mse"], abs=0.05)
    assert ours["pearson"] == pytest.approx(peers.recorded[peer, "pearson"], abs=0.02)
    assert ours["spearman"] == pytest.approx(peers.recorded[peer, "spearman"], abs=0.02)
