"""Score every method of a data set on its test cells, as rows of contracts.METRICS."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from epifoundation.contracts import NO_TYPE
from epifoundation.data.store import TokenStore, expression_levels
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.evaluation.annotation import ANNOTATION_METRICS, annotation_metrics
from epifoundation.evaluation.baselines import ANNOTATION, EXPRESSION, INTEGRATION
from epifoundation.evaluation.baselines.cells import Annotator, Predictor
from epifoundation.evaluation.embedded import LISI_NEIGHBORS
from epifoundation.evaluation.expression import EXPRESSION_METRICS, expression_metrics
from epifoundation.evaluation.inputs import LABELS_OF_TEST_CELLS, split_of
from epifoundation.evaluation.integration import INTEGRATION_METRICS, integration_metrics
from epifoundation.evaluation.integration_variants import VARIANT_METRICS
from epifoundation.evaluation.results import read_embedding, read_expression, read_predictions
from epifoundation.evaluation.score import Score, Subject, metric_rows

OURS = "epifoundation"  # and its ablations, `epifoundation_<variant>`
PROTEIN_CODING = "protein_coding"
FEWEST_FOR_LISI = 10 * LISI_NEIGHBORS


def subject_of(dataset: Mapping[str, str | int], task: str) -> Subject:
    """Return what identifies a data set's rows: atlas, dataset, protocol, seed, label_source."""
    return Subject(
        atlas=str(dataset["atlas"]),
        dataset=str(dataset["dataset"]),
        protocol=str(dataset["protocol"]),
        task=task,
        method="",
        seed=int(dataset["seed"]),
        n_cells=0,
        fit_on="",
        labels_seen="",
        label_source=str(dataset["label_source"]),
    )


def score_integration(
    store: TokenStore, split: pd.DataFrame, files: Mapping[str, str], subject: Subject
) -> pd.DataFrame:
    """Score embeddings by method; ablated variants go to task `ablation`, beside the full model."""
    test = _labelled_test_cells(store, split)
    ablated = any(method.startswith(OURS + "_") for method in files)
    tables: list[pd.DataFrame] = []
    for method, path in files.items():
        embedding = read_embedding(path, test["cell"])
        scores = (
            dict.fromkeys((*INTEGRATION_METRICS, *VARIANT_METRICS), Score.undefined(embedding))
            if isinstance(embedding, str)
            else _reported(
                integration_metrics(embedding, test["cell_type"], test["batch"], variants=True),
                n_cells=len(test),
            )
        )
        known = INTEGRATION.get(method)
        labels_seen = known.labels_seen if known else "train"
        if labels_seen == "test" and subject.protocol not in LABELS_OF_TEST_CELLS:
            labels_seen = "train"
        one = replace(
            subject,
            method=method,
            n_cells=len(test),
            fit_on=known.fit_on if known else "fit",
            labels_seen=labels_seen,
        )
        if not method.startswith(OURS + "_"):
            tables.append(metric_rows(one, scores))
        if ablated and method.startswith(OURS):
            tables.append(metric_rows(replace(one, task="ablation"), scores))
    return pd.concat(tables, ignore_index=True)


def _reported(scores: dict[str, Score], *, n_cells: int) -> dict[str, Score]:
    """Leave out LISI of so few cells that a neighbourhood is a tenth of them or more."""
    if n_cells >= FEWEST_FOR_LISI:
        return scores
    reason = f"{n_cells} cells: LISI is reported from {FEWEST_FOR_LISI} on (10 k0)"
    return scores | dict.fromkeys(("clisi", "ilisi"), Score.undefined(reason))


def score_annotation(
    store: TokenStore, split: pd.DataFrame, files: Mapping[str, str], subject: Subject
) -> pd.DataFrame:
    """Score annotations by method."""
    test = _labelled_test_cells(store, split)
    truth = test.set_index("cell")["cell_type"]
    tables: list[pd.DataFrame] = []
    for method, path in files.items():
        predictions = read_predictions(path, test["cell"])
        if not len(test):
            predictions = "no test cell has a type"
        scores = (
            dict.fromkeys(ANNOTATION_METRICS, Score.undefined(predictions))
            if isinstance(predictions, str)
            else annotation_metrics(predictions, truth)
        )
        known = ANNOTATION.get(method)
        one = _of_method(subject, method, known, n_cells=len(test))
        tables.append(metric_rows(one, scores))
    return pd.concat(tables, ignore_index=True)


def score_expression(
    store: TokenStore,
    vocabulary: Vocabulary,
    split: pd.DataFrame,
    files: Mapping[str, str],
    subject: Subject,
    *,
    n_bins: int,
) -> pd.DataFrame:
    """Score predicted levels by method, over protein-coding genes (paper 4.4)."""
    is_test = split_of(store, split) == "test"
    cells = store.cells["cell"][is_test]
    genes, remark = _protein_coding(vocabulary.genes)
    target = expression_levels(store, n_bins, np.flatnonzero(is_test))[:, genes.index.to_numpy()]
    tables: list[pd.DataFrame] = []
    for method, path in files.items():
        levels = read_expression(path, cells, genes["gene_name"])
        scores = (
            dict.fromkeys(EXPRESSION_METRICS, Score.undefined(levels))
            if isinstance(levels, str)
            else expression_metrics(target, levels)
        )
        known = EXPRESSION.get(method)
        one = _of_method(subject, method, known, n_cells=len(cells))
        noted = {
            name: replace(score, note="; ".join(filter(None, (score.note, remark))))
            for name, score in scores.items()
        }
        tables.append(metric_rows(one, noted))
    return pd.concat(tables, ignore_index=True)


def _of_method(
    subject: Subject, method: str, known: Annotator | Predictor | None, *, n_cells: int
) -> Subject:
    """Say of whom a row is; EpiFoundation is in no registry, fits on its own part, sees train."""
    return replace(
        subject,
        method=method,
        n_cells=n_cells,
        fit_on=known.fit_on if known else "fit",
        labels_seen=known.labels_seen if known else "train",
    )


def _labelled_test_cells(store: TokenStore, split: pd.DataFrame) -> pd.DataFrame:
    cells = store.cells[split_of(store, split) == "test"]
    labelled: pd.DataFrame = cells[~cells["cell_type"].isin(NO_TYPE)].reset_index(drop=True)
    return labelled


def _protein_coding(genes: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    if "gene_type" not in genes:
        return genes, "all genes: gene_type unknown"
    coding = genes[genes["gene_type"] == PROTEIN_CODING]
    if coding.empty:
        return genes, "all genes: none is marked protein coding"
    return coding, ""
