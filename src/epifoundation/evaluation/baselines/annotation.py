"""Annotation controls: what simple methods reach on the same cells.

Fitted on the training cells; the validation cells choose; test cells are only predicted.
"""

import logging
from itertools import product

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

from epifoundation.errors import EvaluationError
from epifoundation.evaluation.baselines.cells import AnnotationCells, Floats
from epifoundation.evaluation.baselines.lsi import component_choices, log_depth, lsi

logger = logging.getLogger(__name__)

PENALTIES = (0.01, 0.1, 1.0)
CLASS_WEIGHTS = (None, "balanced")
MAX_ITERATIONS = 2000


def majority(cells: AnnotationCells, seed: int) -> tuple[Floats, list[str]]:
    """Return each type's share of the training cells as the score of every test cell."""
    names, counts = np.unique(cells.cell_type[cells.split == "train"], return_counts=True)
    shares = np.tile(counts / counts.sum(), (int((cells.split == "test").sum()), 1))
    return shares, [str(name) for name in names]


def depth_logistic(cells: AnnotationCells, seed: int) -> tuple[Floats, list[str]]:
    """Return class probabilities of a logistic regression on the number of open peaks alone."""
    depth = log_depth(cells.accessible, cells.split == "train")
    return _best_logistic(cells, [depth])


def lsi_logistic(cells: AnnotationCells, seed: int) -> tuple[Floats, list[str]]:
    """Return class probabilities of a logistic regression on LSI components."""
    components = lsi(cells.accessible, cells.split == "train", seed)
    return _best_logistic(
        cells, [components[:, :k] for k in component_choices(components.shape[1])]
    )


def _best_logistic(cells: AnnotationCells, features: list[Floats]) -> tuple[Floats, list[str]]:
    """Return the model with the best accuracy + macro F1 on the validation cells."""
    train, validation, test = (cells.split == part for part in ("train", "validation", "test"))
    if not validation.any():
        message = "no validation cell to choose settings with"
        raise EvaluationError(message)
    if len(np.unique(cells.cell_type[train])) < 2:
        message = "the training cells are of one type"
        raise EvaluationError(message)
    best_quality, best_model, best_x = -np.inf, None, features[0]
    truth = cells.cell_type[validation]
    for x, penalty, weight in product(features, PENALTIES, CLASS_WEIGHTS):
        model = LogisticRegression(C=penalty, class_weight=weight, max_iter=MAX_ITERATIONS)
        model.fit(x[train], cells.cell_type[train].astype(str))
        predicted = model.predict(x[validation])
        present = np.unique(truth.astype(str))
        quality = accuracy_score(truth.astype(str), predicted) + f1_score(
            truth.astype(str), predicted, average="macro", labels=present, zero_division=0
        )
        if quality > best_quality:
            best_quality, best_model, best_x = quality, model, x
            logger.info("%d features, C=%g, weights %s: %.3f", x.shape[1], penalty, weight, quality)
    assert best_model is not None, "at least one setting was tried"
    return best_model.predict_proba(best_x[test]), [str(name) for name in best_model.classes_]
