"""Print what a run recovered of the planted truth, and where its report lies."""

import sys
from pathlib import Path

import pandas as pd

results = Path(sys.argv[1])
table = pd.read_csv(results / "recovery.tsv", sep="\t", keep_default_na=False)
sys.stdout.write(f"\n{table.to_string(index=False)}\n\n")
sys.stdout.write(f"The report: {(results / 'report.html').resolve()}\n")
