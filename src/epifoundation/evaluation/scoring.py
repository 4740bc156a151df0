"""Score every method of a data set on its test cells, as rows of contracts.METRICS."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from epifoundation.contracts import NO_TYPE
from epifoundation.data.expression import log_normalize
from epifoundation.data.store import TokenStore, expression_levels, gene_counts
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.evaluation.annotation import ANNOTATION_METRICS, annotation_metrics
from epifoundation.evaluation.baselines import ANNOTATION, EXPRESSION, INTEGRATION
from epifoundation.evaluation.baselines.cells import Annotator, Embedder, Predictor
from epifoundation.evaluation.depth import depth_r2, open_peaks, terciles
from epifoundation.evaluation.embedded import LISI_NEIGHBORS
from epifoundation.evaluation.expression import EXPRESSION_METRICS, expression_metrics
from epifoundation.evaluation.expression_variants import EXPRESSION_VARIANTS, Beside
from epifoundation.evaluation.inputs import LABELS_OF_TEST_CELLS, labelled_test_cells, split_of
from epifoundation.evaluation.integration import INTEGRATION_METRICS, integration_metrics
from epifoundation.evaluation.integration_variants import VARIANT_METRICS
from epifoundation.evaluation.resampling import (
    Groups,
    Resampled,
    annotation_resampled,
    cell_weights,
    donor_weights,
    expression_resampled,
    interval,
    mse_and_pearson,
    type_f1,
)
from epifoundation.evaluation.results import read_embedding, read_expression, read_predictions
from epifoundation.evaluation.score import Score, Subject, metric_rows
from epifoundation.evaluation.tissue import tissue_rows

OURS = "epifoundation"  # and its ablations, `epifoundation_<variant>`
PRETRAINED = "epifoundation_pretrained"  # its embedding before fine-tuning, which saw no label
PARTLY_LABELLED = "all cells, partly labelled"  # what would see test cells' types may not
PROTEIN_CODING = "protein_coding"
FEWEST_FOR_LISI = 10 * LISI_NEIGHBORS
BY_DEPTH = ("accuracy", "macro_f1")


class Scored(NamedTuple):
    """Rows of contracts.METRICS, and of contracts.RESAMPLED."""

    metrics: pd.DataFrame
    resampled: pd.DataFrame


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
        remark=str(dataset.get("remark", "")),
    )


def of_method(
    subject: Subject, method: str, known: Annotator | Predictor | Embedder | None
) -> Subject:
    """Say of whom a row is; EpiFoundation is in no registry, fits on its own part, sees train."""
    labels_seen = known.labels_seen if known else "train"
    fit_on = known.fit_on if known else "fit"
    if labels_seen == "test" and subject.protocol not in LABELS_OF_TEST_CELLS:
        labels_seen, fit_on = "train", PARTLY_LABELLED
    if method.startswith(PRETRAINED):
        labels_seen = "none"
    return replace(subject, method=method, fit_on=fit_on, labels_seen=labels_seen)


def score_integration(
    store: TokenStore,
    split: pd.DataFrame,
    files: Mapping[str, str],
    subject: Subject,
    *,
    threads: int = 1,
) -> pd.DataFrame:
    """Score embeddings by method; ablated variants go to task `ablation`, beside the full model."""
    test = labelled_test_cells(store, split)
    subject = _of_cells(subject, test, store, split)
    depth = open_peaks(store, store.rows_of(test["cell"]))
    tables: list[pd.DataFrame] = []
    for method, path in files.items():
        embedding = read_embedding(path, test["cell"])
        if isinstance(embedding, str):
            names = (*INTEGRATION_METRICS, *VARIANT_METRICS, "depth_r2")
            scores = dict.fromkeys(names, Score.undefined(embedding))
        else:
            found = integration_metrics(
                embedding, test["cell_type"], test["batch"], variants=True, threads=threads
            )
            scores = _reported(found, n_cells=len(test))
            scores["depth_r2"] = depth_r2(embedding, depth)
        one = of_method(subject, method, INTEGRATION.get(method))
        tables += _in_tasks(one, scores, ablated=_ablated(files))
    return pd.concat(tables, ignore_index=True)


def _reported(scores: dict[str, Score], *, n_cells: int) -> dict[str, Score]:
    """Leave out LISI of so few cells that a neighbourhood is a tenth of them or more."""
    if n_cells >= FEWEST_FOR_LISI:
        return scores
    reason = f"{n_cells} cells: LISI is reported from {FEWEST_FOR_LISI} on (10 k0)"
    return scores | dict.fromkeys(("clisi", "ilisi"), Score.undefined(reason))


def score_annotation(
    store: TokenStore, split: pd.DataFrame, files: Mapping[str, str], subject: Subject
) -> Scored:
    """Score annotations by method, in all and by depth; ablations beside the full model."""
    test = labelled_test_cells(store, split)
    subject = _of_cells(subject, test, store, split)
    truth = test.set_index("cell")["cell_type"]
    thirds = list(terciles(open_peaks(store, store.rows_of(test["cell"]))))
    draws = _draws(subject, test["donor"])
    tables: list[pd.DataFrame] = []
    resampled: list[pd.DataFrame] = []
    for method, path in files.items():
        predictions = read_predictions(path, test["cell"])
        if not len(test):
            predictions = "no test cell has a type"
        one = of_method(subject, method, ANNOTATION.get(method))
        if isinstance(predictions, str):
            scores = dict.fromkeys(ANNOTATION_METRICS, Score.undefined(predictions))
        else:
            scores = annotation_metrics(predictions, truth)
            for metric, (value, support) in type_f1(predictions, truth).items():
                scores.setdefault(metric, Score(value, n_cells=support))
            for third, places in thirds:
                part = annotation_metrics(predictions.iloc[places], truth.iloc[places])
                for metric in BY_DEPTH:
                    score = replace(part[metric], n_cells=len(places))
                    scores[f"{metric}:{third}"] = score
            drawn = {
                unit: annotation_resampled(predictions, truth, *how) for unit, how in draws.items()
            }
            scores = _with_intervals(scores, drawn["cells"])
            resampled.append(_resampled_rows(one, drawn))
        tables += _in_tasks(one, scores, ablated=_ablated(files))
    return Scored(pd.concat(tables, ignore_index=True), _joined(resampled))


def score_expression(
    store: TokenStore,
    vocabulary: Vocabulary,
    split: pd.DataFrame,
    files: Mapping[str, str],
    subject: Subject,
    *,
    n_bins: int,
) -> Scored:
    """Score predicted levels by method, over protein-coding genes (paper 4.4)."""
    is_test = split_of(store, split) == "test"
    test = store.cells[is_test]
    subject = _of_cells(subject, test, store, split)
    genes, remark = _protein_coding(vocabulary.genes)
    rows = np.flatnonzero(is_test)
    columns = genes.index.to_numpy()
    target = expression_levels(store, n_bins, rows)[:, columns]
    depth = open_peaks(store, rows)
    thirds = list(terciles(depth))
    cell_type = test["cell_type"].where(~test["cell_type"].isin(NO_TYPE))
    normal = log_normalize(gene_counts(store, rows))[:, columns]
    beside = Beside(pd.factorize(cell_type)[0], depth, normal, subject.seed)
    draws = _draws(subject, test["donor"])
    tables: list[pd.DataFrame] = []
    resampled: list[pd.DataFrame] = []
    for method, path in files.items():
        levels = read_expression(path, test["cell"], genes["gene_name"])
        known = EXPRESSION.get(method)
        one = of_method(subject, method, known)
        if isinstance(levels, str):
            names = (*EXPRESSION_METRICS, *EXPRESSION_VARIANTS)
            scores = dict.fromkeys(names, Score.undefined(levels))
        else:
            predicts_log = known is not None and known.scale == "log"
            scores = expression_metrics(target, levels, replace(beside, predicts_log=predicts_log))
            if not np.isnan(scores["mse"].value):
                for third, places in thirds:
                    values = mse_and_pearson(target[places], levels[places])
                    for metric, value in zip(("mse", "pearson"), values, strict=True):
                        note = "" if np.isfinite(value) else "all genes are constant in these cells"
                        scores[f"{metric}:{third}"] = Score(value, note, n_cells=len(places))
                drawn = {
                    unit: expression_resampled(target, levels, *how) for unit, how in draws.items()
                }
                scores = _with_intervals(scores, drawn["cells"])
                resampled.append(_resampled_rows(one, drawn))
        noted = {
            name: replace(score, note="; ".join(filter(None, (score.note, remark))))
            for name, score in scores.items()
        }
        tables += _in_tasks(one, noted, ablated=_ablated(files))
    return Scored(pd.concat(tables, ignore_index=True), _joined(resampled))


def score_tissue(
    store: TokenStore,
    split: pd.DataFrame,
    embeddings: Mapping[str, np.ndarray],
    subject: Subject,
) -> pd.DataFrame:
    """Score how well embeddings of the test cells, by method, tell the tissue."""
    test = store.cells[split_of(store, split) == "test"]
    return tissue_rows(embeddings, test, _of_cells(subject, test, store, split))


def input_hash(store: TokenStore, split: pd.DataFrame) -> str:
    """Return by what cells and features numbers are comparable: hash of split and vocabulary."""
    parts = split.sort_values("cell")[["cell", "split"]].to_csv(sep="\t", index=False)
    return hashlib.sha256((store.vocabulary_hash + parts).encode()).hexdigest()[:16]


def _of_cells(
    subject: Subject, test: pd.DataFrame, store: TokenStore, split: pd.DataFrame
) -> Subject:
    known = set(test["donor"].dropna()) - {""}
    return replace(
        subject,
        n_cells=len(test),
        n_donors=len(known),
        n_types=len(set(test["cell_type"]) - set(NO_TYPE)),
        input_hash=input_hash(store, split),
    )


def _ablated(files: Mapping[str, str]) -> bool:
    """Tell whether variants of the model are among the methods."""
    return any(_is_ablation(method) for method in files)


def _is_ablation(method: str) -> bool:
    return method.startswith(OURS + "_") and method != PRETRAINED


def _in_tasks(one: Subject, scores: dict[str, Score], *, ablated: bool) -> list[pd.DataFrame]:
    """Return a method's rows: in its task, in task `ablation`, or the full model's in both."""
    tasks = [] if _is_ablation(one.method) else [one.task]
    if ablated and (_is_ablation(one.method) or one.method == OURS):
        tasks.append("ablation")
    return [metric_rows(replace(one, task=task), scores) for task in tasks]


def _draws(subject: Subject, donors: pd.Series) -> dict[str, tuple[np.ndarray, Groups | None]]:
    """Return the resamples that all methods share, by what is drawn, and the groups drawn whole."""
    draws: dict[str, tuple[np.ndarray, Groups | None]] = {
        "cells": (cell_weights(len(donors), subject.seed), None)
    }
    by_donor = donor_weights(donors, subject.seed)
    if by_donor is not None:
        draws["donors"] = (by_donor, pd.factorize(donors, sort=True)[0])
    return draws


def _with_intervals(scores: dict[str, Score], resampled: Resampled) -> dict[str, Score]:
    return {
        metric: replace(score, interval=interval(resampled[metric]))
        if metric in resampled and np.isfinite(score.value)
        else score
        for metric, score in scores.items()
    }


def _resampled_rows(one: Subject, drawn: Mapping[str, Resampled]) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "method": one.method,
                "metric": metric,
                "drawn": unit,
                "resample": np.arange(len(values)),
                "value": values,
            }
        )
        for unit, metrics in drawn.items()
        for metric, values in metrics.items()
        if ":" not in metric
    ]
    return _joined(parts)


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    columns = ["method", "metric", "drawn", "resample", "value"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _protein_coding(genes: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    if "gene_type" not in genes:
        return genes, "all genes: gene_type unknown"
    coding = genes[genes["gene_type"] == PROTEIN_CODING]
    if coding.empty:
        return genes, "all genes: none is marked protein coding"
    return coding, ""
