"""How much of a score, and of an embedding, is sequencing depth."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from epifoundation.data.store import TokenStore
from epifoundation.evaluation.score import Score

TERCILES = ("depth_low", "depth_mid", "depth_high")
FEWEST_CELLS = 30  # of which a tercile has ten
PENALTIES = np.logspace(-2, 4, 7)
N_FOLDS = 5


def open_peaks(store: TokenStore, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the number of open peaks of cells, the depth that every method can see."""
    lengths: npt.NDArray[np.int64] = np.asarray(np.diff(store.peak_indptr), np.int64)
    return lengths[rows]


def terciles(depth: npt.NDArray[np.int64]) -> Iterator[tuple[str, npt.NDArray[np.intp]]]:
    """Yield the name and the places of a third of the cells each; none where cells are few."""
    if len(depth) < FEWEST_CELLS:
        return
    order = np.argsort(depth, kind="stable")
    for name, members in zip(TERCILES, np.array_split(order, len(TERCILES)), strict=True):
        yield name, np.sort(members)


def depth_r2(embedding: npt.NDArray[np.floating], depth: npt.NDArray[np.int64]) -> Score:
    """Return R² of log depth as ridge regression predicts it from the embedding, held out.

    Five folds over cells in random order, always the same; the penalty is chosen within the fit.
    """
    target = np.log1p(depth.astype(float))
    if len(target) < FEWEST_CELLS:
        return Score.undefined(f"{len(target)} cells are too few to regress depth on")
    if not np.isfinite(embedding).all():
        return Score.undefined("the embedding is not finite")
    if np.ptp(target) == 0:
        return Score.undefined("all cells have the same depth")
    model = make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
    folds = KFold(N_FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(model, np.asarray(embedding, dtype=float), target, cv=folds)
    unexplained = ((target - predicted) ** 2).sum() / ((target - target.mean()) ** 2).sum()
    return Score(float(1 - unexplained), "of log open peaks, by ridge regression over five folds")
