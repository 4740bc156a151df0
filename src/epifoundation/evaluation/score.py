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
    interval: tuple[float, float] | None = None  # 95 %, over test cells
    n_cells: int | None = None  # where the value is of fewer cells than its subject has

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
    n_donors: int = 0
    n_types: int = 0
    input_hash: str = ""
    remark: str = ""  # of all of its scores


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
            "low": score.interval[0] if score.interval else math.nan,
            "high": score.interval[1] if score.interval else math.nan,
            "n_cells": subject.n_cells if score.n_cells is None else score.n_cells,
            "n_donors": subject.n_donors,
            "n_types": subject.n_types,
            "fit_on": subject.fit_on,
            "labels_seen": subject.labels_seen,
            "label_source": subject.label_source,
            "note": "; ".join(filter(None, (score.note, subject.remark))),
            "input_hash": subject.input_hash,
        }
        for metric, score in scores.items()
    ]
    return pd.DataFrame(rows)
