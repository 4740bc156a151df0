"""Rows of the metrics for what cannot be scored: no value, and the reason."""

from collections.abc import Mapping, Sequence

import pandas as pd

from epifoundation.evaluation.score import Score, Subject, metric_rows

# Those of Tables 1 to 4, which would otherwise stay blank.
METRICS_OF = {
    "integration": ("iso", "nmi", "casw", "clisi", "basw", "gc"),
    "annotation": ("accuracy", "macro_f1", "micro_f1", "roc_auc"),
    "expression": ("mse", "spearman", "pearson"),
}


def refused_rows(refused: Sequence[Mapping[str, object]]) -> list[pd.DataFrame]:
    """Return METRICS rows of each refusal: atlas, dataset, protocol, seed, task, methods, reason.

    Variants of the model (`epifoundation_…`) go to task `ablation`.
    """
    return [
        metric_rows(
            _subject(one, str(method)),
            dict.fromkeys(METRICS_OF[str(one["task"])], Score.undefined(str(one["reason"]))),
        )
        for one in refused
        for method in one["methods"]  # type: ignore[attr-defined]
    ]


def _subject(one: Mapping[str, object], method: str) -> Subject:
    ablated = method.startswith("epifoundation_")
    return Subject(
        atlas=str(one["atlas"]),
        dataset=str(one["dataset"]),
        protocol=str(one["protocol"]),
        task="ablation" if ablated else str(one["task"]),
        method=method,
        seed=int(str(one["seed"])),
        n_cells=0,
        fit_on="none",
        labels_seen="none",
        label_source=str(one["label_source"]),
    )
