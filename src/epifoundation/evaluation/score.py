"""One value of a metric, or why there is none."""

import math
from dataclasses import dataclass
from typing import Self

import pandas as pd


@dataclass(frozen=True)
class Score:
    """A metric's value; NaN only together with a note that says why."""

    value: float
    note: str = ""

    def __post_init__(self) -> None:
        assert self.note or not math.isnan(self.value), "an undefined value needs its reason"

    @classmethod
    def undefined(cls, reason: str) -> Self:
        """Return a score without a value."""
        return cls(math.nan, reason)


@dataclass(frozen=True)
class Subject:
    """What is scored: identifies the rows of `contracts.METRICS` of one method."""

    atlas: str
    dataset: str
    protocol: str
    task: str
    method: str
    seed: int
    n_cells: int
    fit_on: str
    labels_seen: str
    label_source: str


def metric_rows(subject: Subject, scores: dict[str, Score]) -> pd.DataFrame:
    """Return one row per metric, as contracts.METRICS, in the order of `scores`."""
    rows = [
        {
            "atlas": subject.atlas,
            "dataset": subject.dataset,
            "protocol": subject.protocol,
            "task": subject.task,
            "method": subject.method,
            "seed": subject.seed,
            "metric": metric,
            "value": float(score.value),
            "n_cells": subject.n_cells,
            "fit_on": subject.fit_on,
            "labels_seen": subject.labels_seen,
            "label_source": subject.label_source,
            "note": score.note,
        }
        for metric, score in scores.items()
    ]
    return pd.DataFrame(rows)
