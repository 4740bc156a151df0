"""What of the planted truth a run on simulated reads found again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from epifoundation.contracts import Table

RECOVERY = Table(
    made_by="rule recovery",
    key=("measure", "scope"),
    dtypes={
        "measure": "str",
        "scope": "str",  # `all`, a sample, or a data set
        "value": "float64",
        "threshold": "float64",  # empty: shown only
        "bound": "str",  # `min` or `max`: the value may not fall below, or not exceed, threshold
        "passed": "str",  # yes | no; empty: shown only
        "meaning": "str",
    },
    nullable=("value", "threshold", "bound", "passed"),
    allowed={"bound": ("min", "max"), "passed": ("yes", "no")},
)
LSI_TOLERANCE = 0.03  # of macro F1, below LSI with logistic regression
ORACLE_SHARE = 0.85


@dataclass(frozen=True)
class PlantedTruth:
    """The truth files of a simulation: see `epifoundation.simulate.truth`.

    `synonyms`: cell_type and synonym, a name the reference table uses for it. `controls`: dataset,
    control, metric, value on the planted matrices. `sisters`: pairs of types that nearly agree.
    """

    cells: pd.DataFrame
    regions: pd.DataFrame
    synonyms: pd.DataFrame
    controls: pd.DataFrame
    sisters: tuple[tuple[str, str], ...]
    rare_type: str


def recovery_table(
    truth: PlantedTruth,
    called: Mapping[str, Iterable[str]],
    peaks: pd.DataFrame,
    labels: pd.DataFrame,
    metrics: pd.DataFrame,
) -> pd.DataFrame:
    """Return what was recovered, one measure a row (RECOVERY); misses are rows like any other.

    `called` holds the barcodes called cells of each sample; `peaks` is a BED, its first columns
    chrom, start, end whatever their names; `labels` rows of contracts.LABELS of all samples;
    `metrics` rows of contracts.METRICS.
    """
    peaks = peaks.iloc[:, :3].set_axis(["chrom", "start", "end"], axis=1)
    rows = [
        *_called_rows(truth.cells, called),
        *_peak_rows(truth.regions, peaks),
        *_label_rows(truth, labels),
        *_annotation_rows(truth.controls, metrics),
        *_expression_rows(metrics),
    ]
    return pd.DataFrame(rows, columns=list(RECOVERY.dtypes))


def called_cells(samples: Sequence[str], files: Sequence[str]) -> dict[str, list[str]]:
    """Return the barcodes each `per_barcode_metrics.csv` says are cells, by sample."""
    tables = {name: pd.read_csv(file) for name, file in zip(samples, files, strict=True)}
    return {
        name: table.loc[table["is_cell"] == 1, "barcode"].tolist() for name, table in tables.items()
    }


def _row(
    measure: str,
    scope: str,
    value: float,
    meaning: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> dict[str, object]:
    threshold = at_least if at_least is not None else at_most
    if threshold is None:
        bound, passed = "", ""
    elif at_least is not None:
        bound, passed = "min", "yes" if value >= threshold else "no"
    else:
        bound, passed = "max", "yes" if value <= threshold else "no"
    limit = np.nan if threshold is None else threshold
    values = (measure, scope, value, limit, bound, passed, meaning)
    return dict(zip(RECOVERY.dtypes, values, strict=True))


def _called_rows(
    cells: pd.DataFrame, called: Mapping[str, Iterable[str]]
) -> list[dict[str, object]]:
    """Precision and recall of called cells; doublets count for neither."""
    found = {(sample, barcode) for sample, barcodes in called.items() for barcode in barcodes}
    names = pd.MultiIndex.from_frame(cells[["sample", "barcode"]])
    is_called = np.array([name in found for name in names])
    single = ~cells["is_doublet"].to_numpy()
    planted = set(names)
    rows = []
    for scope in ["all", *called]:
        here = (
            (cells["sample"] == scope).to_numpy() if scope != "all" else np.ones(len(cells), bool)
        )
        here &= cells["sample"].isin(called).to_numpy()
        right = int((is_called & single & here).sum())
        wrong = sum(name not in planted and scope in ("all", name[0]) for name in found)
        n_single = int((single & here).sum())
        rows += [
            _row(
                "cells_precision",
                scope,
                _share(right, right + wrong),
                "called barcodes that are planted cells",
                at_least=0.98,
            ),
            _row(
                "cells_recall",
                scope,
                _share(right, n_single),
                "planted cells that are called",
                at_least=0.98,
            ),
        ]
    doublets = int((is_called & ~single).sum())
    meaning = "doublets among the called planted cells (no step removes them)"
    rows.append(_row("called_doublets", "all", _share(doublets, int(is_called.sum())), meaning))
    return rows


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def overlaps_any(queries: pd.DataFrame, targets: pd.DataFrame) -> np.ndarray:
    """Return for each query (chrom, start, end) whether it shares a base with any target."""
    found = np.zeros(len(queries), bool)
    of_chrom = dict(tuple(targets.groupby("chrom")))
    for chrom, rows in queries.reset_index(drop=True).groupby("chrom"):
        if chrom in of_chrom:
            starts = np.sort(of_chrom[chrom]["start"].to_numpy())
            ends = np.sort(of_chrom[chrom]["end"].to_numpy())
            begun = np.searchsorted(starts, rows["end"].to_numpy(), side="left")
            over = np.searchsorted(ends, rows["start"].to_numpy(), side="right")
            found[rows.index.to_numpy()] = begun > over
    return found


def _peak_rows(regions: pd.DataFrame, peaks: pd.DataFrame) -> list[dict[str, object]]:
    found = overlaps_any(regions, peaks)
    rare = regions["rare_only"].to_numpy(bool)
    right = overlaps_any(peaks, regions)
    return [
        _row(
            "peaks_recall",
            "all",
            float(found.mean()),
            "planted regions that a called peak overlaps",
            at_least=0.90,
        ),
        _row(
            "peaks_precision",
            "all",
            float(right.mean()) if len(right) else float("nan"),
            "called peaks that overlap a planted region",
            at_least=0.90,
        ),
        _row(
            "peaks_recall",
            "rare type only",
            float(found[rare].mean()),
            "the same, over regions mostly accessible in the rare type",
        ),
        _row(
            "peaks_per_region",
            "all",
            _share(float(right.sum()), float(found.sum())),
            "called peaks for each planted region found: below 1 where regions merge",
        ),
    ]


def _label_rows(truth: PlantedTruth, labels: pd.DataFrame) -> list[dict[str, object]]:
    """Purity of clusters, and recall of types after labelling, over singlets that passed QC."""
    names = truth.cells["sample"] + "#" + truth.cells["barcode"]
    planted = truth.cells.assign(name=names, planted=truth.cells["cell_type"])
    singlets = planted.loc[~planted["is_doublet"], ["name", "sample", "planted", "lineage"]]
    cells = labels.merge(singlets, left_on="barcode", right_on="name")
    cells["cluster"] = cells["sample"] + "/" + cells["cluster"].astype(str)
    rows = [
        _row(
            "purity_lineages",
            "all",
            _purity(cells, "lineage"),
            "cells of their cluster's commonest lineage",
            at_least=0.95,
        )
    ]
    for pair in truth.sisters:
        value = _purity(cells[cells["planted"].isin(pair)], "planted")
        meaning = "cells of these two types of their cluster's commoner one"
        rows.append(_row("purity_sisters", " / ".join(pair), value, meaning, at_least=0.80))
    alias = dict(zip(truth.synonyms["synonym"], truth.synonyms["cell_type"], strict=True))
    right = cells["cell_type"].replace(alias) == cells["planted"]
    recall = right.groupby(cells["planted"]).mean()
    types = sorted(truth.cells["cell_type"].unique())
    recall = recall.reindex(types).fillna(0.0)
    meaning = "cells labelled with their planted type, mean over types"
    rows.append(_row("label_recall", "macro", float(recall.mean()), meaning, at_least=0.80))
    for cell_type, value in recall.items():
        least = 0.60 if cell_type == truth.rare_type else None
        meaning = "the rare type" if least else "cells labelled with their planted type"
        rows.append(_row("label_recall", str(cell_type), float(value), meaning, at_least=least))
    return rows


def _purity(cells: pd.DataFrame, column: str) -> float:
    if cells.empty:
        return float("nan")
    table = pd.crosstab(cells["cluster"], cells[column])
    return float(table.max(axis=1).sum() / len(cells))


def _values(metrics: pd.DataFrame, task: str, metric: str) -> pd.DataFrame:
    """Mean over seeds, data set × method."""
    chosen = metrics[(metrics["task"] == task) & (metrics["metric"] == metric)]
    return chosen.pivot_table(index="dataset", columns="method", values="value", sort=False)


def _at(values: pd.DataFrame, dataset: str, method: str) -> float:
    known = dataset in values.index and method in values.columns
    return float(values[method].to_dict()[dataset]) if known else float("nan")


def _annotation_rows(controls: pd.DataFrame, metrics: pd.DataFrame) -> list[dict[str, object]]:
    values = _values(metrics, "annotation", "macro_f1")
    planted = controls[controls["metric"] == "macro_f1"].set_index(["dataset", "control"])["value"]
    rows = []
    for dataset in values.index:
        ours, lsi = (_at(values, dataset, name) for name in ("epifoundation", "lsi_logistic"))
        oracle = float(planted.get((dataset, "oracle"), np.nan))
        rows += [
            _row(
                "annotation_macro_f1",
                dataset,
                ours,
                f"EpiFoundation; not below LSI + logistic regression by more than {LSI_TOLERANCE}",
                at_least=lsi - LSI_TOLERANCE,
            ),
            _row("annotation_macro_f1_lsi_logistic", dataset, lsi, "the same cells and labels"),
            _row(
                "annotation_macro_f1_oracle",
                dataset,
                oracle,
                "planted rates, observed binary regions, planted labels",
            ),
            _row(
                "annotation_of_oracle",
                dataset,
                _share(ours, oracle),
                "EpiFoundation's share of the oracle's macro F1 (the aim)",
                at_least=ORACLE_SHARE,
            ),
        ]
    return rows


def _expression_rows(metrics: pd.DataFrame) -> list[dict[str, object]]:
    rows = []
    for metric in ("pearson", "spearman"):
        values = _values(metrics, "expression", metric)
        for dataset in values.index:
            for control in ("depth_only", "gene_activity"):
                rows.append(
                    _row(
                        f"expression_{metric}_over_{control}",
                        dataset,
                        _at(values, dataset, "epifoundation") - _at(values, dataset, control),
                        f"EpiFoundation's {metric} less that of {control}",
                        at_least=0,
                    )
                )
    values = _values(metrics, "expression", "mse")
    for dataset in values.index:
        ours = _at(values, dataset, "epifoundation")
        rows += [
            _row(
                "expression_mse_below_gene_mean",
                dataset,
                ours - _at(values, dataset, "gene_mean"),
                "EpiFoundation's MSE less that of the per-gene mean",
                at_most=0,
            ),
            _row(
                "expression_mse_against_lsi_ridge",
                dataset,
                ours - _at(values, dataset, "lsi_ridge"),
                "EpiFoundation's MSE less that of LSI + ridge",
            ),
        ]
    return rows
