"""The six integration metrics, and ARI, against what scib 1.1.7 returned on the same embeddings."""

import json

import numpy as np
import pandas as pd
import pytest

from epifoundation.evaluation.integration import integration_metrics

SCIB_NAMES = {
    "iso": "isolated_labels_asw",
    "nmi": "nmi",
    "casw": "silhouette",
    "clisi": "clisi_graph",
    "basw": "silhouette_batch",
    "gc": "graph_connectivity",
    "ari": "ari",
}


@pytest.mark.parametrize("dataset", ["planted", "bmmc_B"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_are_scibs(shared, dataset, dtype):
    folder = shared / "golden" / "scib" / dataset
    cells = pd.read_csv(folder / "cells.tsv", sep="\t")
    embedding = np.loadtxt(folder / "embedding.tsv.gz", delimiter="\t").astype(dtype)
    recorded = json.loads((folder / "scib_1.1.7.json").read_text())
    scores = integration_metrics(embedding, cells["label"], cells["batch"], variants=True)
    ours = {name: scores[name].value for name in SCIB_NAMES}
    theirs = {name: recorded[scib_name] for name, scib_name in SCIB_NAMES.items()}
    assert ours == pytest.approx(theirs, abs=1e-6, nan_ok=True)
