"""What every baseline is given, and how a method describes itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

Floats = npt.NDArray[np.floating]
Names = npt.NDArray[np.object_]


@dataclass(frozen=True)
class IntegrationCells:
    """All cells of a data set, test cells too.

    `accessible` is binary, (n_cells, n_peaks). `cell_type` is missing where the method may not see
    the label. `liger_python` is the Python of the environment that has pyliger.
    """

    accessible: sparse.csr_matrix
    batch: pd.Series
    cell_type: pd.Series
    liger_python: str = ""


@dataclass(frozen=True)
class AnnotationCells:
    """Binary peaks of all cells (n_cells, n_peaks), their types, and each one's split.

    `batch` is needed by methods that correct for it.
    """

    accessible: sparse.csr_matrix
    cell_type: Names
    split: Names
    batch: Names | None = None


@dataclass(frozen=True)
class ExpressionCells:
    """Binary peaks of all cells, and their expression.

    `levels` is (n_cells, n_genes), 0 … n_bins - 1. `activity` is gene activity as counts in the
    same shape; where there is none, `no_activity` says why. `counts` are those that the levels were
    made of, and `batch` one name per cell; for methods that model them.
    """

    accessible: sparse.csr_matrix
    levels: sparse.csr_matrix
    split: Names
    n_bins: int
    activity: sparse.csr_matrix | None = None
    no_activity: str = ""
    counts: sparse.csr_matrix | None = None
    batch: Names | None = None


@dataclass(frozen=True)
class Embedder:
    """An integration method: of all cells and a seed, (n_cells, n_dimensions)."""

    run: Callable[[IntegrationCells, int], Floats]
    fit_on: str
    labels_seen: str
    apart: bool = True  # in a process of its own, which may run out of memory alone


@dataclass(frozen=True)
class Annotator:
    """An annotation method: scores (n_test, n_types) of the test cells, and the types' names."""

    run: Callable[[AnnotationCells, int], tuple[Floats, list[str]]]
    fit_on: str
    labels_seen: str
    apart: bool = True  # in a process of its own, which may run out of memory alone


@dataclass(frozen=True)
class Predictor:
    """An expression method: levels (n_test, n_genes) of the test cells, or values on a `scale`."""

    run: Callable[[ExpressionCells, int], Floats]
    fit_on: str
    labels_seen: str
    scale: Literal["levels", "log"] = "levels"  # log: log-normalised
    apart: bool = True  # in a process of its own, which may run out of memory alone
