"""The rule of Cell Ranger ARC, from accession to its outputs, by a stand-in that is strict."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from epifoundation.align.layout import OUTS

pytestmark = pytest.mark.slow

SAMPLE = "Lung"
# Checks how it is called, and gives what the open engine made of the same reads.
STAND_IN = """#!{python}
import csv, json, re, shutil, sys
from pathlib import Path
if sys.argv[1:] == ["--version"]:
    print("cellranger-arc cellranger-arc-2.0.1")
    sys.exit()
options = dict(word.split("=", 1) for word in sys.argv[2:-1])
with open(options["--libraries"], newline="") as handle:
    libraries = list(csv.DictReader(handle))
reads = {{row["library_type"]: sorted(p.name for p in Path(row["fastqs"]).iterdir())
         for row in libraries}}
assert all(p.resolve().is_file() for row in libraries for p in Path(row["fastqs"]).iterdir())
Path({told!r}).write_text(json.dumps(options | {{"command": sys.argv[1], "reads": reads}}))
outs = Path(options["--id"], "outs")
outs.mkdir(parents=True)
for path in Path({made!r}).iterdir():
    shutil.copy(path, outs)
summary = outs / "summary.csv"
version = "cellranger-arc-2.0.1"
summary.write_text(re.sub("epifoundation-open-[0-9.]+", version, summary.read_text()))
(outs / "atac_possorted_bam.bam").write_text("large")
"""


@pytest.fixture
def folder(demo, tmp_path):
    """A folder of results with an unpacked reference, a stand-in, and an overlay that names it."""
    (tmp_path / "reference/arc").mkdir(parents=True)
    (tmp_path / "reference/arc/reference.json").write_text("{}")
    program = tmp_path / "cellranger-arc"
    made = demo / "align" / SAMPLE / "outs"
    words = {"python": sys.executable, "told": str(tmp_path / "told.json"), "made": str(made)}
    program.write_text(STAND_IN.format(**words))
    program.chmod(0o755)
    overlay = {
        "results_dir": str(tmp_path),
        "simulate": None,
        "align": {"engine": "cellranger-arc", "cellranger_arc": str(program)},
    }
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    return tmp_path


def test_reads_are_aligned_with_the_cores_and_memory_of_the_job(folder, demo, snakemake):
    outs = folder / "align" / SAMPLE / "outs"
    run = snakemake(
        *("--configfile", "config/demo.yaml", folder / "overlay.yaml"),
        *("--set-resources", "align_cellranger_arc:mem_mb=70000"),
        *("--allowed-rules", "resolve", "download", "align_cellranger_arc", "--"),
        outs / "summary.csv",
    )
    assert run.code == 0, run.output[-4000:]
    assert sorted(path.name for path in outs.iterdir()) == sorted(OUTS)
    told = json.loads((folder / "told.json").read_text())
    assert told["command"] == "count"
    assert (told["--id"], told["--localcores"], told["--localmem"]) == (SAMPLE, "2", "68")
    assert Path(told["--reference"]) == folder / "reference/arc"
    reads = pd.read_csv(folder / "acquire" / SAMPLE / "reads.tsv", sep="\t")
    n_files = {kind: len(names) for kind, names in told["reads"].items()}
    counts = reads["library"].value_counts()
    assert n_files == {
        "Gene Expression": counts["gex"],
        "Chromatin Accessibility": counts["atac"],
    }
    matrix = "filtered_feature_bc_matrix.h5"
    assert (outs / matrix).read_bytes() == (demo / "align" / SAMPLE / "outs" / matrix).read_bytes()
