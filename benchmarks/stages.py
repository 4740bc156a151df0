"""Where a finished run spent its time: each rule's share of all job seconds, and its memory.

    python benchmarks/stages.py results-demo benchmarks/stages_demo.json

Shares are ratios within one run, since seconds differ from machine to machine. A share counts wall
seconds of jobs, several of which ran at once.
"""

import json
import sys
from pathlib import Path

import pandas as pd


def shares(folder: Path) -> dict[str, dict[str, float]]:
    """Return for each rule, the longest first: jobs, share of job seconds, largest memory."""
    files = sorted(folder.glob("**/*.tsv"))
    table = pd.concat([pd.read_csv(path, sep="\t", na_values="-") for path in files])
    table["rule"] = [path.relative_to(folder).parts[0].removesuffix(".tsv") for path in files]
    rules = table.groupby("rule").agg(
        jobs=("s", "size"), seconds=("s", "sum"), peak_memory_mib=("max_rss", "max")
    )
    rules["share"] = rules["seconds"] / rules["seconds"].sum()
    ordered = rules.sort_values("share", ascending=False).drop(columns="seconds").round(3)
    return ordered.to_dict(orient="index")


if __name__ == "__main__":
    results, output = map(Path, sys.argv[1:])
    output.write_text(json.dumps(shares(results / "benchmarks"), indent=1) + "\n")
