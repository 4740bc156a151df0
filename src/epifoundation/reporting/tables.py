"""Tables 1 to 4 from the metrics alone: our numbers beside the printed ones, with a verdict."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from epifoundation.reporting.layouts import (
    IN_ALL_BLOCKS,
    LABEL_FREE,
    LABEL_INFORMED,
    NOT_PRINTED,
    PAPER_LABELS,
    PAPER_PROTOCOL,
    UNRANKED,
    Layout,
)
from epifoundation.reporting.names import BETWEEN, METHOD_NAMES, direction

TOLERANCE = 0.02  # a score within this of the printed one is reproduced; MSE: this share of it
IDENTITY = ["atlas", "dataset", "protocol", "method"]
COLUMNS = (
    *("table", "atlas", "dataset", "protocol", "block", "method", "metric", "value", "deviation"),
    *("low", "high", "printed", "difference", "verdict", "best", "n_seeds", "seeds", "n_cells"),
    *("n_donors", "n_types", "fit_on", "labels_seen", "label_source", "input_hash", "note"),
)


def result_table(
    metrics: pd.DataFrame,
    layout: Layout,
    *,
    comparable: bool,
    agreements: Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Return one row per number, COLUMNS: ours over seeds, printed, difference, verdict, best.

    Column `table` names the part: `1` the paper's columns, `1a` agreement of label sources, `1b`
    other metrics, `1c` metrics of groups of cells (`f1:<type>`), `1d` what an ablation loses.

    Parameters
    ----------
    metrics
        contracts.METRICS.
    comparable
        Data, split and labels are the paper's; otherwise every verdict is `not comparable`.
    agreements
        contracts.AGREEMENT by atlas, to stand before the numbers.
    """
    chosen = metrics[metrics["task"] == layout.task]
    groups = chosen.groupby([*IDENTITY, "metric"], sort=False)
    rows = [_row(group) for _, group in groups]
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if rows and name in rows[0]])
    table = table.reindex(columns=list(COLUMNS))
    if not table.empty:
        table = _compared(table, layout, comparable=comparable)
        if layout.full is not None:
            losses = _losses(chosen, layout)
            table = pd.concat([table, losses], ignore_index=True) if len(losses) else table
        table = _ordered(table, layout)
    agreed = agreement_rows(agreements or {}, layout)
    return pd.concat([agreed, table], ignore_index=True) if len(agreed) else table


def _compared(table: pd.DataFrame, layout: Layout, *, comparable: bool) -> pd.DataFrame:
    table["block"] = np.where(table["labels_seen"] == "none", LABEL_FREE, LABEL_INFORMED)
    if layout.has_blocks:
        again = table[table["method"].isin(IN_ALL_BLOCKS)].assign(block=LABEL_INFORMED)
        table = pd.concat([table, again], ignore_index=True)
    table["table"] = [str(layout.number) + layout.part_of(str(name)) for name in table["metric"]]
    names = table[["dataset", "method", "metric"]].itertuples(index=False)
    printed = [layout.printed_number(*map(str, row)) for row in names]
    table["printed"] = pd.Series(printed, index=table.index, dtype=float)
    table["difference"] = table["value"] - table["printed"]
    table["verdict"] = [
        verdict(
            float(row["value"]),
            float(row["printed"]),
            str(row["metric"]),
            comparable=comparable
            and row["protocol"] == PAPER_PROTOCOL
            and row["label_source"] in PAPER_LABELS,
        )
        for row in table.to_dict("records")
    ]
    table["best"] = _best(table, by_block=layout.has_blocks)
    return table


def _row(group: pd.DataFrame) -> dict[str, object]:
    """Return what the seeds that have a value give; all of them where none has."""
    valued = group["value"].notna()
    values = group["value"][valued]
    rests_on = group[valued] if valued.any() else group
    first = rests_on.iloc[0]
    seeds = sorted(set(rests_on["seed"]))
    notes = dict.fromkeys(note for note in group["note"].fillna("") if note)
    if failed := sorted(set(group["seed"]) - set(seeds)):
        notes |= {f"no value of seed {', '.join(map(str, failed))}": None}
    return {
        **{name: first[name] for name in [*IDENTITY, "metric"]},
        "value": values.mean() if len(values) else np.nan,
        "deviation": values.std(ddof=1) if len(values) > 1 else np.nan,
        "low": group["low"].mean(),
        "high": group["high"].mean(),
        "n_seeds": len(seeds),
        "seeds": ",".join(map(str, seeds)),
        **{name: _span(rests_on[name]) for name in ("n_cells", "n_donors", "n_types")},
        **{name: first[name] for name in ("fit_on", "labels_seen", "label_source")},
        "input_hash": ",".join(dict.fromkeys(map(str, rests_on["input_hash"]))),
        "note": "; ".join(notes),
    }


def _span(numbers: pd.Series) -> str:
    """Return the number, or the smallest and the largest where seeds differ."""
    return "-".join(str(int(number)) for number in sorted({numbers.min(), numbers.max()}))


def verdict(value: float, printed: float, metric: str, *, comparable: bool) -> str:
    """Return `reproduced`, `comparable`, `not comparable` or `not printed`."""
    if np.isnan(printed):
        return NOT_PRINTED
    if not comparable or np.isnan(value):
        return "not comparable"
    allowed = TOLERANCE * (printed if direction(metric) < 0 else 1)
    return "reproduced" if abs(value - printed) <= allowed else "comparable"


def _best(table: pd.DataFrame, *, by_block: bool) -> pd.Series:
    """Return whether a number is the best of its data set, metric and, if so, block.

    Where all are equal, none is.
    """
    keys = ["atlas", "dataset", "protocol", "metric", *(["block"] if by_block else [])]
    sign = table["metric"].map(direction).astype(float)
    can_win = ~table["method"].isin(UNRANKED) & (sign != 0)
    ranked = (table["value"].astype(float) * sign).where(can_win)
    groups = ranked.groupby([table[key] for key in keys])
    return (ranked == groups.transform("max")) & (groups.transform("nunique") > 1)


def _losses(chosen: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Return what each ablation loses, full model minus ablated, over the seeds of both."""
    keys = ["atlas", "dataset", "protocol", "metric", "seed"]
    chosen = chosen[~chosen["metric"].str.contains(BETWEEN)]  # of all test cells alone
    full = chosen[chosen["method"] == layout.full].set_index(keys)["value"]
    ablated = chosen[chosen["method"] != layout.full]
    paired = ablated.join(full.rename("full"), on=keys)
    paired["value"] = paired["full"] - paired["value"]
    paired[["low", "high"]] = np.nan  # an interval of a difference is none of its parts'
    rows = []
    for _, group in paired.groupby([*IDENTITY, "metric"], sort=False):
        row = _row(group)
        names = [str(row[name]) for name in ("dataset", "method", "metric")]
        theirs = layout.printed_number(*names)
        whole = layout.printed_number(names[0], str(layout.full), names[2])
        row["printed"] = np.nan if theirs is None or whole is None else whole - theirs
        rows.append(row)
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    table = table.assign(table=f"{layout.number}d", block="", best=False, verdict="")
    table["difference"] = table["value"] - table["printed"].astype(float)
    return table


def agreement_rows(agreements: Mapping[str, pd.DataFrame], layout: Layout) -> pd.DataFrame:
    """Return how far two sources of labels agree, as rows of the table."""
    rows = [
        {
            **dict.fromkeys(("block", "protocol", "fit_on", "seeds", "input_hash"), ""),
            "table": f"{layout.number}a",
            "atlas": atlas,
            "dataset": pair["dataset"],
            "method": f"{pair['one']} and {pair['other']}",
            "metric": metric,
            "value": pair[metric],
            "best": False,
            "verdict": NOT_PRINTED,
            "n_cells": str(pair["n_cells"]),
            "n_types": f"{pair['n_types_one']} and {pair['n_types_other']}",
            "labels_seen": "",
            "label_source": f"{pair['one']},{pair['other']}",
            "note": "" if pd.notna(pair[metric]) else "no cell has a type in both",
        }
        for atlas, table in agreements.items()
        for pair in table.to_dict("records")
        for metric in ("agreement", "nmi", "ari")
    ]
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def _ordered(table: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Sort by part, appearance of atlas and data set, block, method as named, and metric."""

    def rank(names: list[str]) -> dict[str, int]:
        return {name: place for place, name in enumerate(names)}

    known = [name for name in METHOD_NAMES if name not in IN_ALL_BLOCKS]
    others = sorted(set(table["method"]) - set(METHOD_NAMES))
    methods = rank([*known, *others, *IN_ALL_BLOCKS])
    extra = dict.fromkeys(name for name in table["metric"] if name not in layout.metrics)
    protocols = dict.fromkeys([PAPER_PROTOCOL, *table["protocol"]])
    order = pd.DataFrame(
        {
            "table": table["table"],
            "atlas": table["atlas"].map(rank(list(dict.fromkeys(table["atlas"])))),
            "protocol": table["protocol"].map(rank(list(protocols))),
            "dataset": table["dataset"].map(rank(list(dict.fromkeys(table["dataset"])))),
            "block": (table["block"] == LABEL_INFORMED) & layout.has_blocks,
            "method": table["method"].map(methods),
            "metric": table["metric"].map(rank([*layout.metrics, *extra])),
        }
    )
    index = order.sort_values(list(order.columns), kind="stable").index
    return table.loc[index].reset_index(drop=True)
