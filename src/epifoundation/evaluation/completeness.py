"""Whether every method that should have a result has one."""

from pathlib import Path

import pandas as pd

from epifoundation.errors import MethodError
from epifoundation.evaluation.results import BROKEN

IDENTITY = ["atlas", "dataset", "protocol", "seed", "task", "method"]
SUFFIX = {"integration": "parquet", "annotation": "parquet", "expression": "h5ad"}


def missing_results(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return of contracts.METRICS who broke down and why: columns of IDENTITY and note.

    A value that is not defined on some cells, or a method that does not apply to them, is nothing
    that is missing.
    """
    broken = metrics[metrics["note"].fillna("").str.startswith(BROKEN)]
    rows: pd.DataFrame = broken[[*IDENTITY, "note"]].drop_duplicates(IDENTITY)
    return rows.reset_index(drop=True)


def require_all(metrics: pd.DataFrame, results_dir: Path | str) -> None:
    """Raise MethodError where a method broke down, naming the files to delete for another try."""
    missing = missing_results(metrics)
    if missing.empty:
        return
    lines = [
        f"  {row.method} on {row.dataset} ({row.task}, {row.protocol}, seed {row.seed}):"
        f" {str(row.note).removeprefix(BROKEN)}"
        for row in missing.itertuples()
    ]
    files = [
        f"  {results_dir}/evaluation/{row.atlas}/{row.dataset}/{row.protocol}.seed{row.seed}/"
        f"{row.task}/{row.method}.{SUFFIX.get(str(row.task), 'parquet')}"
        for row in missing.itertuples()
    ]
    said = "1 result is" if len(missing) == 1 else f"{len(missing)} results are"
    message = "\n".join(
        [
            f"{said} missing; all else is complete, and the tables say why they are empty:",
            *lines,
            "Once repaired, delete these files and run again:",
            *files,
        ]
    )
    raise MethodError(message)
