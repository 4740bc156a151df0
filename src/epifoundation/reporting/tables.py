"""Tables 1 to 4 from the metrics alone: our numbers beside the printed ones, with a verdict."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from epifoundation.reporting.layouts import (
    LABEL_FREE,
    LABEL_INFORMED,
    METHOD_NAMES,
    NOT_PRINTED,
    SMALLER_IS_BETTER,
    UNRANKED,
    Layout,
)
from epifoundation.reporting.printed import TABLE_5, TABLE_5_FIXED

TOLERANCE = 0.02  # a score within this of the printed one is reproduced; MSE: this share of it
IDENTITY = ["atlas", "dataset", "protocol", "method"]


def result_table(metrics: pd.DataFrame, layout: Layout, *, comparable: bool) -> pd.DataFrame:
    """Return one row per number: ours over seeds, printed, difference, verdict, best or not.

    Parameters
    ----------
    metrics
        contracts.METRICS.
    comparable
        Data, split and labels are the paper's; otherwise every verdict is `not comparable`.
    """
    chosen = metrics[(metrics["task"] == layout.task) & metrics["metric"].isin(layout.metrics)]
    groups = chosen.groupby([*IDENTITY, "metric"], sort=False)
    table = pd.DataFrame([_row(group) for _, group in groups])
    if table.empty:
        return table
    table["block"] = np.where(table["labels_seen"] == "none", LABEL_FREE, LABEL_INFORMED)
    names = table[["dataset", "method", "metric"]].itertuples(index=False)
    printed = [layout.printed_number(*map(str, row)) for row in names]
    table["printed"] = pd.Series(printed, index=table.index, dtype=float)
    table["difference"] = table["value"] - table["printed"]
    table["verdict"] = [
        verdict(value, number, metric, comparable=comparable)
        for value, number, metric in zip(
            table["value"].astype(float), table["printed"], table["metric"], strict=True
        )
    ]
    table["best"] = _best(table, by_block=layout.has_blocks)
    return _ordered(table, layout)


def _row(group: pd.DataFrame) -> dict[str, object]:
    values = group["value"].dropna()
    first = group.iloc[0]
    notes = dict.fromkeys(note for note in group["note"].fillna("") if note)
    return {
        **{name: first[name] for name in [*IDENTITY, "metric"]},
        "value": values.mean() if len(values) else np.nan,
        "deviation": values.std(ddof=1) if len(values) > 1 else np.nan,
        "n_seeds": group["seed"].nunique(),
        "n_cells": int(first["n_cells"]),
        "fit_on": first["fit_on"],
        "labels_seen": first["labels_seen"],
        "label_source": first["label_source"],
        "note": "; ".join(notes),
    }


def verdict(value: float, printed: float, metric: str, *, comparable: bool) -> str:
    """Return `reproduced`, `comparable`, `not comparable` or `not printed`."""
    if np.isnan(printed):
        return NOT_PRINTED
    if not comparable or np.isnan(value):
        return "not comparable"
    allowed = TOLERANCE * (printed if metric in SMALLER_IS_BETTER else 1)
    return "reproduced" if abs(value - printed) <= allowed else "comparable"


def _best(table: pd.DataFrame, *, by_block: bool) -> pd.Series:
    """Return whether a number is the best of its data set, metric and, if so, block."""
    keys = ["atlas", "dataset", "protocol", "metric", *(["block"] if by_block else [])]
    sign = np.where(table["metric"].isin(SMALLER_IS_BETTER), -1.0, 1.0)
    ranked = (table["value"] * sign).where(~table["method"].isin(UNRANKED))
    best = ranked.groupby([table[key] for key in keys]).transform("max")
    n_ranked = ranked.groupby([table[key] for key in keys]).transform("count")
    return (ranked == best) & (n_ranked > 1)


def _ordered(table: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Sort by appearance of atlas and data set, block, method as in METHOD_NAMES, metric."""

    def rank(names: list[str]) -> dict[str, int]:
        return {name: place for place, name in enumerate(names)}

    methods = rank([*METHOD_NAMES, *sorted(set(table["method"]) - set(METHOD_NAMES))])
    order = pd.DataFrame(
        {
            "atlas": table["atlas"].map(rank(list(dict.fromkeys(table["atlas"])))),
            "dataset": table["dataset"].map(rank(list(dict.fromkeys(table["dataset"])))),
            "protocol": table["protocol"],
            "block": (table["block"] == LABEL_INFORMED) & layout.has_blocks,
            "method": table["method"].map(methods),
            "metric": table["metric"].map(rank(list(layout.metrics))),
        }
    )
    index = order.sort_values(list(order.columns), kind="stable").index
    first = ["atlas", "dataset", "protocol", "block", "method", "metric", "value", "deviation"]
    first += ["printed", "difference", "verdict", "best"]
    return table.loc[index, first + [c for c in table if c not in first]].reset_index(drop=True)


def settings_table(
    sections: Mapping[str, Mapping[str, object]],
) -> pd.DataFrame:
    """Return Table 5: every setting of model and training, beside the printed one.

    Parameters
    ----------
    sections
        Name and plain content of sections of the configuration.
    """
    rows = []
    for section, content in sections.items():
        for key, value in content.items():
            name, number = TABLE_5.get((section, key), (key.replace("_", " "), None))
            same = None if number is None else float(str(value)) == number
            rows.append(
                {
                    "section": section,
                    "parameter": name,
                    "key": f"{section}.{key}",
                    "value": str(value),
                    "printed": "" if number is None else f"{number:g}",
                    "verdict": {None: NOT_PRINTED, True: "same", False: "different"}[same],
                }
            )
    rows += [
        {
            "section": "pretrain",
            "parameter": name,
            "key": "",
            "value": ours,
            "printed": theirs,
            "verdict": "same",
        }
        for name, (theirs, ours) in TABLE_5_FIXED.items()
    ]
    return pd.DataFrame(rows)
