"""Run the methods beside EpiFoundation on a data set, and write what they return."""

import logging
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from epifoundation.data.gene_activity import gene_activity
from epifoundation.data.store import TokenStore
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.errors import EvaluationError, MethodError
from epifoundation.evaluation.annotation import prediction_table
from epifoundation.evaluation.baselines import ANNOTATION, EXPRESSION, INTEGRATION
from epifoundation.evaluation.baselines.apart import attempt
from epifoundation.evaluation.inputs import (
    annotation_cells,
    expression_cells,
    integration_cells,
    join_activity,
    split_of,
)
from epifoundation.evaluation.results import (
    BROKEN,
    write_embedding,
    write_expression,
    write_failure,
    write_predictions,
)
from epifoundation.protocols import LABEL_FREE

logger = logging.getLogger(__name__)


def integrate(
    store: TokenStore,
    split: pd.DataFrame,
    output: Path | str,
    *,
    method: str,
    protocol: str,
    seed: int,
    liger_python: str,
) -> None:
    """Write the embedding of all cells of the data set by one method."""
    cells = integration_cells(store, split, protocol, liger_python)
    row = INTEGRATION[method]
    try:
        if protocol == LABEL_FREE and row.labels_seen != "none":
            message = f"{protocol}: {method} learns from labels"
            raise EvaluationError(message)
        embedding = attempt(row.run, cells, seed, apart=row.apart)
    except EvaluationError as error:
        _give_up(method, error, output, store.cells["cell"])
        return
    write_embedding(output, store.cells["cell"], embedding)


def annotate_controls(
    store: TokenStore, split: pd.DataFrame, outputs: Mapping[str, str], *, seed: int
) -> None:
    """Write each control's annotation of the test cells; `outputs` maps a method to its file."""
    cells = annotation_cells(store, split)
    test = store.cells["cell"][split_of(store, split) == "test"]
    for method, output in outputs.items():
        row = ANNOTATION[method]
        try:
            scores, names = attempt(row.run, cells, seed, apart=row.apart)
        except EvaluationError as error:
            _give_up(method, error, output, test)
            continue
        write_predictions(output, prediction_table(test, scores, names))


def predict_expression_baselines(
    store: TokenStore,
    vocabulary: Vocabulary,
    split: pd.DataFrame,
    outputs: Mapping[str, str],
    *,
    fragments: Mapping[str, str],
    annotation: str | None,
    n_bins: int,
    seed: int,
) -> None:
    """Write each baseline's levels of the test cells; `outputs` maps a method to its file.

    Parameters
    ----------
    fragments
        Fragment file of each sample of the data set; empty where there are none.
    annotation
        GTF for gene activity.
    """
    activity = None
    if fragments and annotation:
        parts = {
            sample: gene_activity(path, annotation, _barcodes(store, sample))
            for sample, path in fragments.items()
        }
        activity = join_activity(parts, store, vocabulary.genes["gene_id"])
    cells = expression_cells(store, split, n_bins, activity)
    test = store.cells["cell"][cells.split == "test"]
    for method, output in outputs.items():
        row = EXPRESSION[method]
        try:
            levels = attempt(row.run, cells, seed, apart=row.apart)
        except EvaluationError as error:
            _give_up(method, error, output, test)
            continue
        write_expression(output, test, vocabulary.genes["gene_name"], levels)


def _barcodes(store: TokenStore, sample: str) -> list[str]:
    own = store.cells.loc[store.cells["sample"] == sample, "cell"]
    return list(own.str.partition("#")[2])


def _give_up(method: str, error: EvaluationError, output: Path | str, cells: pd.Series) -> None:
    reason = f"{BROKEN}{error}" if isinstance(error, MethodError) else str(error)
    logger.warning("%s has no result: %s", method, reason)
    write_failure(output, list(cells), reason)
