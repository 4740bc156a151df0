"""The four annotation metrics of the paper (B.3.2)."""

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from epifoundation.errors import EvaluationError
from epifoundation.evaluation.score import Score

ANNOTATION_METRICS = ("accuracy", "macro_f1", "micro_f1", "roc_auc")
SCORE_PREFIX = "score:"


def annotation_metrics(predictions: pd.DataFrame, cell_types: pd.Series) -> dict[str, Score]:
    """Return the scores named in ANNOTATION_METRICS.

    F1 is averaged over every type that occurs or is predicted, as
    `sklearn.metrics.f1_score(average=...)` does. ROC-AUC is one type against the rest, averaged
    over the types that occur; an absent type has no curve and is left out, a type that the method
    knows no score of counts 0.5.

    Parameters
    ----------
    predictions
        contracts.CELL_TYPE_PREDICTIONS with a column `score:<type>` per type.
    cell_types
        True types, index = cell.
    """
    missing = predictions.index[~predictions["cell"].isin(cell_types.index)]
    if len(missing) or len(predictions) != len(cell_types):
        message = (
            f"{len(predictions)} predicted cells are not the {len(cell_types)} test cells"
            f" ({len(missing)} of them unknown)"
        )
        raise EvaluationError(message)
    truth = cell_types.loc[predictions["cell"]].astype(str).to_numpy()
    predicted = predictions["predicted_cell_type"].astype(str).to_numpy()
    spurious = len(set(predicted) - set(truth))
    note = f"{spurious} predicted types do not occur and count 0" if spurious else ""
    return {
        "accuracy": Score(float(accuracy_score(truth, predicted))),
        "macro_f1": Score(float(f1_score(truth, predicted, average="macro")), note),
        "micro_f1": Score(float(f1_score(truth, predicted, average="micro"))),
        "roc_auc": _one_versus_rest_auc(predictions, truth),
    }


def _one_versus_rest_auc(predictions: pd.DataFrame, truth: np.ndarray) -> Score:
    present = np.unique(truth)
    if len(present) == 1:
        return Score.undefined("one cell type only")
    areas, unknown = [], []
    for name in present:
        column = SCORE_PREFIX + name
        if column in predictions:
            areas.append(float(roc_auc_score(truth == name, predictions[column].to_numpy())))
        else:
            areas.append(0.5)
            unknown.append(name)
    scored = [name for name in predictions if str(name).startswith(SCORE_PREFIX)]
    n_absent = len(scored) - (len(present) - len(unknown))
    notes = [f"never scored, counted 0.5: {', '.join(unknown)}"] if unknown else []
    notes += [f"{n_absent} types that do not occur left out"] if n_absent else []
    return Score(float(np.mean(areas)), "; ".join(notes))


def prediction_table(cells: pd.Index, scores: np.ndarray, cell_types: list[str]) -> pd.DataFrame:
    """Return contracts.CELL_TYPE_PREDICTIONS from (n_cells, n_types) scores.

    The predicted type is the one with the largest score, the first of equals.
    """
    names = np.asarray(cell_types, dtype=object)
    best = names[np.argmax(scores, axis=1)]
    table = pd.DataFrame({"cell": np.asarray(cells, dtype=object), "predicted_cell_type": best})
    columns = [SCORE_PREFIX + name for name in cell_types]
    return table.join(pd.DataFrame(scores, columns=columns))
