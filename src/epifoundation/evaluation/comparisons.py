"""Differences between EpiFoundation and the other methods, and what can be said of them.

Within one split: both methods are scored on the same resamples of test cells, or of donors where
there are at least four. Over several splits: the variance of the mean difference is corrected for
their overlap (Nadeau and Bengio, Machine Learning 2003): s² (1/J + n_test / n_train) of J seeds,
with Student's t of J - 1. A plain t-test, which takes overlapping splits for independent ones,
calls far too many differences real. EpiFoundation is the pretrained model alone where that is all
there is, in `label_free`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from epifoundation.contracts import COMPARISONS, RESAMPLED, SPLIT
from epifoundation.evaluation.resampling import interval
from epifoundation.evaluation.scoring import OURS, PRETRAINED

ABLATION = "ablation"
IDENTITY = ["atlas", "dataset", "protocol", "task"]
FEW_CELLS = 400  # below it the standard error of a share can be above .025
FEW_FOR_EMBEDDINGS = 200
NOT_COMPARED = ("depth_r2",)  # says what an embedding holds, not which is better

Set = Mapping[str, str | int]  # task, atlas, dataset, protocol, seed
Sizes = Mapping[tuple[str, str, str, int], tuple[int, int]]


def compare_methods(
    metrics: pd.DataFrame, resampled: Iterable[tuple[Set, pd.DataFrame]], sizes: Sizes
) -> pd.DataFrame:
    """Return contracts.COMPARISONS.

    Parameters
    ----------
    metrics
        contracts.METRICS.
    resampled
        Each set of annotation or expression with its contracts.RESAMPLED.
    sizes
        Test cells, and cells learned from, by atlas, data set, protocol and seed.
    """
    rows = [row for one, table in resampled for row in _within(one, table, metrics)]
    whole = metrics[~metrics["metric"].str.contains(":") & ~metrics["metric"].isin(NOT_COMPARED)]
    for key, group in whole.groupby([*IDENTITY, "metric"], sort=False):
        named = dict(zip([*IDENTITY, "metric"], map(str, key), strict=True))
        rows += _over_seeds(named, group, sizes)
    if not rows:
        columns = {name: pd.Series(dtype=kind) for name, kind in COMPARISONS.dtypes.items()}
        return pd.DataFrame(columns)
    order = {name: i for i, name in enumerate(COMPARISONS.dtypes)}
    return pd.DataFrame(rows)[list(order)]


def read_resampled(sets: Sequence[Set], paths: Sequence[str]) -> Iterator[tuple[Set, pd.DataFrame]]:
    """Yield each set of annotation or expression with the table at its path, one at a time."""
    drawn = [one for one in sets if one["task"] != "integration"]
    for one, path in zip(drawn, paths, strict=True):
        yield one, RESAMPLED.read(path)


def read_sizes(sets: Sequence[Set], paths: Sequence[str]) -> Sizes:
    """Return the sizes that `compare_methods` takes, of the split of each set."""
    sizes: dict[tuple[str, str, str, int], tuple[int, int]] = {}
    for one, path in zip(sets, paths, strict=True):
        key = (str(one["atlas"]), str(one["dataset"]), str(one["protocol"]), int(one["seed"]))
        if key not in sizes:
            parts = SPLIT.read(path)["split"].value_counts()
            learned = parts.get("train", 0) + parts.get("validation", 0)
            sizes[key] = int(parts.get("test", 0)), int(learned)
    return sizes


def _within(one: Set, table: pd.DataFrame, metrics: pd.DataFrame) -> list[dict[str, object]]:
    """Compare on the same resamples of one split."""
    is_own = metrics["seed"] == int(one["seed"])
    for name in ("atlas", "dataset", "protocol"):
        is_own &= metrics[name] == one[name]
    is_own &= metrics["task"].isin([one["task"], ABLATION])
    own = {(str(row["method"]), str(row["metric"])): row for _, row in metrics[is_own].iterrows()}
    rows = []
    for key, group in table.groupby(["drawn", "metric"], sort=False):
        drawn, metric = map(str, key)
        values = group.pivot(index="resample", columns="method", values="value")
        if (we := _ours(values)) is None:
            continue
        for method in values.columns.drop(we):
            ours, other = own[we, metric], own[method, metric]
            found = interval((values[we] - values[method]).to_numpy(float))
            rows.append(
                {
                    **{name: one[name] for name in IDENTITY},
                    "task": ABLATION if method.startswith(OURS + "_") else one["task"],
                    "method": method,
                    "metric": metric,
                    "drawn": drawn,
                    "seed": str(one["seed"]),
                    **_difference(metric, ours["value"], other["value"], found),
                    "n_drawn": int(ours["n_donors" if drawn == "donors" else "n_cells"]),
                    "note": few_cells(str(one["task"]), metric, int(ours["n_cells"])),
                }
            )
    return rows


def _over_seeds(
    key: Mapping[str, str], group: pd.DataFrame, sizes: Sizes
) -> list[dict[str, object]]:
    values = group.pivot(index="seed", columns="method", values="value")
    if (we := _ours(values)) is None:
        return []
    rows = []
    for method in values.columns.drop(we):
        both = values[[we, method]].dropna()
        if len(both) < 2:
            continue
        where = (key["atlas"], key["dataset"], key["protocol"])
        n_test, n_learned = np.mean([sizes[(*where, int(seed))] for seed in both.index], axis=0)
        differences = (both[we] - both[method]).to_numpy(float)
        half = corrected_half_width(differences, n_test / n_learned)
        mean = float(differences.mean())
        n_cells = int(group["n_cells"].min())
        rows.append(
            {
                **key,
                "method": method,
                "drawn": "seeds",
                "seed": "all",
                **_difference(
                    key["metric"],
                    float(both[we].mean()),
                    float(both[method].mean()),
                    (mean - half, mean + half),
                ),
                "n_drawn": len(both),
                "note": few_cells(key["task"], key["metric"], n_cells),
            }
        )
    return rows


def _ours(by_method: pd.DataFrame) -> str | None:
    """Return the column of EpiFoundation, fine-tuned if it is there."""
    return next((name for name in (OURS, PRETRAINED) if name in by_method), None)


def corrected_half_width(differences: npt.NDArray[np.float64], test_share: float) -> float:
    """Return half of the 95 % interval of the mean difference over overlapping splits.

    `test_share` is the number of test cells over the number of cells learned from.
    """
    n = len(differences)
    variance = differences.var(ddof=1) * (1 / n + test_share)
    return float(stats.t.ppf(0.975, n - 1) * np.sqrt(variance))


def few_cells(task: str, metric: str, n_cells: int) -> str:
    """Return in words what so few test cells cannot carry, or nothing."""
    if task == ABLATION:
        kinds = {
            "annotation": ("accuracy", "macro", "micro", "roc"),
            "expression": ("mse", "pearson", "spearman"),
        }
        of_metric = [kind for kind, starts in kinds.items() if metric.startswith(starts)]
        task = of_metric[-1] if of_metric else "integration"
    if task == "integration" and n_cells < FEW_FOR_EMBEDDINGS:
        return f"{n_cells} test cells: at so few a random embedding scores like the methods"
    if task == "annotation" and n_cells < FEW_CELLS:
        error = np.sqrt(0.25 / max(n_cells, 1))
        return (
            f"{n_cells} test cells: a share has a standard error of up to {error:.3f}, so that"
            f" differences below {2 * error:.2f} between sets say nothing"
        )
    if task == "expression" and n_cells < FEW_CELLS:
        return f"{n_cells} test cells: depth alone may explain as much, compare with depth_only"
    return ""


def _difference(
    metric: str, ours: float, other: float, found: tuple[float, float] | None
) -> dict[str, object]:
    low, high = found or (np.nan, np.nan)
    better = "undecided"
    if low > 0 or high < 0:
        better = "EpiFoundation" if (low > 0) != metric.startswith("mse") else "other"
    return {
        "epifoundation": ours,
        "other": other,
        "difference": ours - other,
        "low": low,
        "high": high,
        "better": better,
    }
