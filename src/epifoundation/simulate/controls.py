"""What simple predictors reach on the planted matrices: how hard the simulation is."""

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from epifoundation.simulate.cells import Cells
from epifoundation.simulate.design import CELL_TYPES
from epifoundation.simulate.planted import Planted, generator

N_FOLDS = 5
N_LSI = 50
MIN_FRAGMENTS = 1000  # in regions; cells below do not pass the paper's limits


def control_table(planted: Planted, seed: int) -> pd.DataFrame:
    """Return dataset, control, metric, value: cell types, cross-validated within a data set.

    Controls: majority, depth_only, lsi_logistic, binary_logistic, shuffled_labels (LSI again), and
    oracle, which knows the planted rates and sees which regions are accessible. Metrics: accuracy
    and macro_f1 over the singlets deep enough for the paper's limits.
    """
    rows = []
    for dataset, names in _datasets(planted).items():
        counts, labels, oracle = _stack(planted, names)
        rng = generator(seed, f"controls {dataset}")
        shuffled = rng.permutation(labels)
        predicted = _predictions(counts, labels, rng) | {"oracle": oracle}
        scores = {name: _scores(labels, values) for name, values in predicted.items()}
        latent = lsi((counts > 0).astype(np.float32), rng)
        scores["shuffled_labels"] = _scores(shuffled, _cross_validate(latent, shuffled, 1.0, rng))
        rows += [
            {"dataset": dataset, "control": control, "metric": metric, "value": value}
            for control, values in scores.items()
            for metric, value in values.items()
        ]
    return pd.DataFrame(rows)


def paired_table(planted: Planted, seed: int) -> pd.DataFrame:
    """Return how well LSI predicts linked genes (ridge), with true and with shuffled pairs.

    `gene_pearson` is the mean over linked genes of the correlation between predicted and observed
    log-normalised expression of held-out cells, within one sample so that batches play no part.
    """
    genes = np.unique(planted.programme.links["gene"])
    rows = []
    for dataset, names in _datasets(planted).items():
        cells = planted.samples[names[0]]
        keep = _usable(cells)
        rng = generator(seed, f"pairs {dataset}")
        latent = lsi((cells.atac[keep] > 0).astype(np.float32), rng)
        counts = cells.rna[keep]
        total = np.asarray(counts.sum(axis=1))
        expression = np.log1p(counts[:, genes].toarray() / total * 1e4)
        for control, order in (
            ("paired", np.arange(len(latent))),
            ("shuffled_pairs", rng.permutation(len(latent))),
        ):
            value = _mean_correlation(latent, expression[order], rng)
            rows.append(
                {"dataset": dataset, "control": control, "metric": "gene_pearson", "value": value}
            )
    return pd.DataFrame(rows)


def _mean_correlation(
    latent: np.ndarray, expression: np.ndarray, rng: np.random.Generator
) -> float:
    predicted = np.empty_like(expression)
    folds = KFold(N_FOLDS, shuffle=True, random_state=int(rng.integers(2**31)))
    for train, test in folds.split(latent):
        model = Ridge(alpha=100.0).fit(latent[train], expression[train])
        predicted[test] = model.predict(latent[test]) - expression[train].mean(axis=0)
    varies = expression.std(axis=0) > 0
    x = predicted[:, varies] - predicted[:, varies].mean(axis=0)
    y = expression[:, varies] - expression[:, varies].mean(axis=0)
    scale = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    return float(((x * y).sum(axis=0) / np.maximum(scale, 1e-12)).mean())


def _datasets(planted: Planted) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for name, cells in planted.samples.items():
        members.setdefault(str(cells.obs["dataset"].iloc[0]), []).append(name)
    return members


def _scores(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": float((truth == predicted).mean()),
        "macro_f1": float(f1_score(truth, predicted, average="macro", zero_division=0)),
    }


def _usable(cells: Cells) -> np.ndarray:
    deep: np.ndarray = np.asarray(cells.atac.sum(axis=1)).ravel() > MIN_FRAGMENTS
    deep &= ~cells.obs["is_doublet"].to_numpy()
    return deep


def _stack(planted: Planted, names: list[str]) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Counts, types and the oracle's types of the singlets that pass the depth limit."""
    counts, labels, oracle = [], [], []
    present = {t for name in names for t in planted.samples[name].obs["cell_type"]}
    for name in names:
        cells = planted.samples[name]
        keep = _usable(cells)
        counts.append(cells.atac[keep])
        labels.append(cells.obs["cell_type"].to_numpy()[keep])
        oracle.append(oracle_types(planted, name, present)[keep])
    return sparse.vstack(counts, "csr"), np.concatenate(labels), np.concatenate(oracle)


def oracle_types(planted: Planted, name: str, types: set[str]) -> np.ndarray:
    """Return the likeliest of `types` for each cell, from its true rates and binary regions.

    The oracle knows depth, batch, programme states, gradient and ambient share of a cell: all but
    its type. Types are equally likely beforehand.
    """
    cells, effects = planted.samples[name], planted.programme.region_type.astype(np.float32)
    is_open = cells.atac.toarray() > 0
    none_ambient = np.exp(-np.outer(cells.ambient_rate, cells.pool_atac)).astype(np.float32)
    candidates = [t for t in CELL_TYPES if t in types]
    scores = []
    for cell_type in candidates:
        closed = 1 / (1 + np.exp(cells.log_odds + effects[CELL_TYPES.index(cell_type)]))
        closed *= none_ambient
        scores.append(np.log(np.where(is_open, 1 - closed, closed)).sum(axis=1))
    likeliest: np.ndarray = np.array(candidates, dtype=object)[np.argmax(scores, axis=0)]
    return likeliest


def _predictions(
    counts: sparse.csr_matrix, labels: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    binary = (counts > 0).astype(np.float32)
    depth = np.log(np.column_stack([binary.sum(axis=1), counts.sum(axis=1)]))
    latent = lsi(binary, rng)
    majority = pd.Series(labels).mode()[0]
    return {
        "majority": np.full(len(labels), majority, dtype=object),
        "depth_only": _cross_validate(np.asarray(depth), labels, 1.0, rng),
        "lsi_logistic": _cross_validate(latent, labels, 1.0, rng),
        "binary_logistic": _cross_validate(rotated(binary), labels, 0.01, rng),
    }


def lsi(binary: sparse.csr_matrix, rng: np.random.Generator) -> np.ndarray:
    """Return standardised LSI components 2-50 (TF-IDF as Signac's); the first one is depth."""
    n_cells = binary.shape[0]
    seen = np.asarray(binary.sum(axis=0)).ravel()
    scaled = sparse.diags(1 / np.asarray(binary.sum(axis=1)).ravel()) @ binary
    weighted = (scaled @ sparse.diags(n_cells / np.maximum(seen, 1)) * 1e4).log1p()
    n = min(N_LSI, min(binary.shape) - 1)
    state = int(rng.integers(2**31))
    latent = TruncatedSVD(n, algorithm="arpack", random_state=state).fit_transform(weighted)
    standardised: np.ndarray = StandardScaler().fit_transform(latent[:, 1:])
    return standardised


def rotated(binary: sparse.csr_matrix) -> np.ndarray:
    """Return cells × at most cells, rotated so that all inner products stay.

    A ridge penalty does not notice a rotation, so a model fitted on these is the one that all
    regions would give, in a fraction of the time.
    """
    values, vectors = np.linalg.eigh((binary @ binary.T).toarray().astype(np.float64))
    scores: np.ndarray = vectors * np.sqrt(values.clip(min=0))
    return scores


def _cross_validate(
    features: np.ndarray,
    labels: np.ndarray,
    strength: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the label predicted for each cell when its fold was held out."""
    predicted = np.empty(len(labels), dtype=object)
    folds = KFold(N_FOLDS, shuffle=True, random_state=int(rng.integers(2**31)))
    for train, test in folds.split(features):
        model = LogisticRegression(C=strength, max_iter=300)
        model.fit(features[train], labels[train])
        predicted[test] = model.predict(features[test])
    return predicted
