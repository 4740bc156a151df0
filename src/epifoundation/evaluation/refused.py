"""Rows of the metrics for what cannot be scored: no value, and the reason."""

from collections.abc import Mapping, Sequence

import pandas as pd

from epifoundation.evaluation.annotation import ANNOTATION_METRICS
from epifoundation.evaluation.baselines import ANNOTATION, EXPRESSION, INTEGRATION
from epifoundation.evaluation.baselines.cells import Annotator, Embedder, Predictor
from epifoundation.evaluation.expression import EXPRESSION_METRICS
from epifoundation.evaluation.integration import INTEGRATION_METRICS
from epifoundation.evaluation.score import Score, Subject, metric_rows
from epifoundation.evaluation.scoring import of_method, subject_of

# Those of Tables 1 to 4, which would otherwise stay blank.
METRICS_OF = {
    "integration": INTEGRATION_METRICS,
    "annotation": ANNOTATION_METRICS,
    "expression": EXPRESSION_METRICS,
}
KNOWN: Mapping[str, Mapping[str, Embedder | Annotator | Predictor]] = {
    "integration": INTEGRATION,
    "annotation": ANNOTATION,
    "expression": EXPRESSION,
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
    """Say of a method what its scores would, so that it stands among the same methods."""
    task = str(one["task"])
    where = {name: str(one[name]) for name in ("atlas", "dataset", "protocol", "label_source")}
    ablated = method.startswith("epifoundation_")
    subject = subject_of({**where, "seed": int(str(one["seed"]))}, "ablation" if ablated else task)
    return of_method(subject, method, KNOWN[task].get(method))
