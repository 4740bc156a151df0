"""Annotation controls: what simple methods reach on the same cells.

Fitted on the training cells; the validation cells choose; test cells are only predicted.
"""

import logging
from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np
from scipy import sparse
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier

from epifoundation.errors import EvaluationError
from epifoundation.evaluation.baselines.cells import AnnotationCells, Floats
from epifoundation.evaluation.baselines.lsi import (
    NEIGHBOURS,
    component_choices,
    log_depth,
    lsi,
)

logger = logging.getLogger(__name__)

PENALTIES = (0.01, 0.1, 1.0)  # of features with deviation 1
BINARY_PENALTIES = (0.001, 0.01, 0.1, 1.0)  # of open peaks as they are
CLASS_WEIGHTS = (None, "balanced")
SMOOTHING = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)
MAX_ITERATIONS = 2000

# what is logged, cells × features, a model to be fitted
Setting = tuple[str, Floats | sparse.csr_matrix, ClassifierMixin]


def majority(cells: AnnotationCells, seed: int) -> tuple[Floats, list[str]]:
    """Return each type's share of the training cells as the score of every test cell."""
    names, counts = np.unique(cells.cell_type[cells.split == "train"], return_counts=True)
    shares = np.tile(counts / counts.sum(), (int((cells.split == "test").sum()), 1))
    return shares, [str(name) for name in names]


def depth_logistic(cells: AnnotationCells, seed: int) -> tuple[Floats, list[str]]:
    """Return class probabilities of a logistic regression on the number of open peaks alone."""
    depth = log_depth(cells.accessible, cells.split == "train")
    return _best(cells, _logistic([depth], PENALTIES))


def lsi_logistic(cells: AnnotationCells, seed: int) -> tuple[Floats, list[str]]:
    """Return class probabilities of a logistic regression on LSI components."""
    return _best(cells, _logistic(_lsi_choices(cells), PENALTIES))


def binary_logistic(cells: AnnotationCells, seed: int) -> tuple[Floats, list[str]]:
    """Return class probabilities of a logistic regression on the open peaks."""
    return _best(cells, _logistic([cells.accessible.astype(np.float32)], BINARY_PENALTIES))


def binary_naive_bayes(cells: AnnotationCells, seed: int) -> tuple[Floats, list[str]]:
    """Return class probabilities of multinomial naive Bayes on the open peaks."""
    return _best(
        cells,
        ((f"alpha={a:g}", cells.accessible, MultinomialNB(alpha=a)) for a in SMOOTHING),
    )


def lsi_neighbours(cells: AnnotationCells, seed: int) -> tuple[Floats, list[str]]:
    """Return shares of types among the nearest training cells in LSI, weighted by closeness."""
    n_train = int((cells.split == "train").sum())
    settings = ((x, min(n, n_train)) for x, n in product(_lsi_choices(cells), NEIGHBOURS))
    return _best(
        cells,
        (
            (
                f"{x.shape[1]} components, {n} neighbours",
                x,
                KNeighborsClassifier(n, weights="distance", metric="cosine"),
            )
            for x, n in settings
        ),
    )


def _lsi_choices(cells: AnnotationCells) -> list[Floats]:
    components = lsi(cells.accessible, cells.split == "train")
    return [components[:, :k] for k in component_choices(components.shape[1])]


def _logistic(
    features: Iterable[Floats | sparse.csr_matrix], penalties: tuple[float, ...]
) -> Iterator[Setting]:
    for x, penalty, weight in product(features, penalties, CLASS_WEIGHTS):
        name = f"{x.shape[1]} features, C={penalty:g}, weights {weight}"
        yield name, x, LogisticRegression(C=penalty, class_weight=weight, max_iter=MAX_ITERATIONS)


def _best(cells: AnnotationCells, settings: Iterable[Setting]) -> tuple[Floats, list[str]]:
    """Return what the setting with the best accuracy + macro F1 on validation cells predicts."""
    train, validation, test = (cells.split == part for part in ("train", "validation", "test"))
    if not validation.any():
        message = "no validation cell to choose settings with"
        raise EvaluationError(message)
    types = cells.cell_type.astype(str)
    if len(np.unique(types[train])) < 2:
        message = "the training cells are of one type"
        raise EvaluationError(message)
    best_quality = -np.inf
    truth = types[validation]
    for name, x, model in settings:
        model.fit(x[train], types[train])
        predicted = model.predict(x[validation])
        quality = accuracy_score(truth, predicted) + f1_score(
            truth, predicted, average="macro", labels=np.unique(truth), zero_division=0
        )
        if quality > best_quality:
            best_quality, best_model, best_x = quality, model, x
            logger.info("%s: %.3f", name, quality)
    return best_model.predict_proba(best_x[test]), [str(name) for name in best_model.classes_]
