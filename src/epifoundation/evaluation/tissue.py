"""How well the tissue is told from pretrained embeddings, with and without the batch embedding.

In an atlas with one sample per tissue batch and tissue are the same, so that an embedding freed of
batches would be freed of tissues too.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from epifoundation.evaluation.resampling import cell_weights, interval
from epifoundation.evaluation.score import Score, Subject, metric_rows

TISSUE_ACCURACY = "tissue_accuracy"
N_FOLDS = 5


def tissue_accuracy(embedding: npt.NDArray[np.floating], tissues: pd.Series, *, seed: int) -> Score:
    """Return the share of cells whose tissue logistic regression tells, over five folds.

    Tissues of fewer than five cells are left out.
    """
    sizes = tissues.value_counts()
    kept = tissues.isin(sizes.index[sizes >= N_FOLDS]).to_numpy()
    names = tissues.to_numpy(dtype=str)[kept]
    if len(set(names)) < 2:
        return Score.undefined("one tissue only")
    if not np.isfinite(embedding).all():
        return Score.undefined("the embedding is not finite")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    told = cross_val_predict(model, np.asarray(embedding[kept], float), names, cv=folds) == names
    largest = pd.Series(names).value_counts(normalize=True).iloc[0]
    return Score(
        float(told.mean()),
        f"before fine-tuning; the largest tissue has {largest:.3f} of the cells",
        interval(cell_weights(len(names), seed) @ told / len(names)),
        n_cells=int(kept.sum()),
    )


def tissue_rows(
    embeddings: Mapping[str, npt.NDArray[np.floating]], test: pd.DataFrame, subject: Subject
) -> pd.DataFrame:
    """Return METRICS rows of task `ablation`, one per method."""
    rows = [
        metric_rows(
            replace(subject, task="ablation", method=method, fit_on="fit", labels_seen="none"),
            {TISSUE_ACCURACY: tissue_accuracy(embedding, test["tissue"], seed=subject.seed)},
        )
        for method, embedding in embeddings.items()
    ]
    return pd.concat(rows, ignore_index=True)
