"""Cell Ranger ARC is called as its manual asks, by means of a stand-in that is strict about it."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from epifoundation.align.cellranger_arc import run_cellranger_arc
from epifoundation.align.layout import OUTS
from epifoundation.errors import AlignError, ToolError

STAND_IN = """#!{python}
import csv, re, sys
from pathlib import Path
if sys.argv[1:] == ["--version"]:
    print("cellranger-arc cellranger-arc-{version}")
    sys.exit()
assert sys.argv[1] == "count", sys.argv
assert sys.argv[-1] == "--disable-ui"
options = dict(word.split("=", 1) for word in sys.argv[2:-1])
assert set(options) == {{"--id", "--reference", "--libraries", "--localcores", "--localmem"}}
assert re.fullmatch("[A-Za-z0-9_-]{{1,64}}", options["--id"])
assert (Path(options["--reference"]) / "reference.json").is_file()
assert (options["--localcores"], options["--localmem"]) == ("3", "64")
with open(options["--libraries"], newline="") as handle:
    rows = list(csv.DictReader(handle))
assert list(rows[0]) == ["fastqs", "sample", "library_type"]
assert sorted(row["library_type"] for row in rows) == ["Chromatin Accessibility", "Gene Expression"]
for row in rows:
    folder = Path(row["fastqs"])
    assert folder.is_absolute()
    reads = "R1 R2" if row["library_type"] == "Gene Expression" else "R1 R2 R3"
    expected = [
        f"{{row['sample']}}_S1_L{{lane:03d}}_{{read}}_001.fastq.gz"
        for lane in (1, 2) for read in reads.split()
    ]
    assert sorted(p.name for p in folder.iterdir()) == sorted(expected)
    assert all(p.resolve().is_file() for p in folder.iterdir())
print("Running preflight checks", flush=True)
if {fails}:
    sys.exit("[error] Pipestance failed. no space left")
outs = Path(options["--id"], "outs")
outs.mkdir(parents=True)
for name in {files}:
    (outs / name).write_text(name)
(outs / "atac_possorted_bam.bam").write_text("large")
(outs / "summary.csv").write_text("Sample ID,Pipeline version\\nx,cellranger-arc-{version}\\n")
"""


@pytest.fixture
def run(tmp_path: Path):
    """Return a function that runs the stand-in, made with the given behaviour, on two lanes."""
    fastq, reference = tmp_path / "fastq", tmp_path / "arc"
    fastq.mkdir()
    reference.mkdir()
    (reference / "reference.json").touch()
    rows = [
        (f"{library}_{lane}_{read}.fastq.gz", library, lane, read)
        for library, reads in (("gex", ("R1", "R2")), ("atac", ("R1", "R2", "R3")))
        for lane in ("SRR1", "SRR2")
        for read in reads
    ]
    manifest = pd.DataFrame(rows, columns=["file", "library", "lane", "read"])
    for file in manifest["file"]:
        (fastq / file).touch()

    def call(version: str = "2.0.1", files: tuple[str, ...] = OUTS, *, fails: bool = False) -> Path:
        program = tmp_path / "cellranger-arc"
        text = STAND_IN.format(python=sys.executable, version=version, files=files, fails=fails)
        program.write_text(text)
        program.chmod(0o755)
        outs = tmp_path / "sample" / "outs"
        run_cellranger_arc(
            manifest,
            fastq,
            outs,
            sample="kidney.rep 1",
            reference=reference,
            program=str(program),
            threads=3,
            memory_gib=64,
        )
        return outs

    return call


@pytest.mark.parametrize("version", ["2.0.1", "2.0.2"])
def test_keeps_what_later_steps_read(run, version: str) -> None:
    outs = run(version)
    assert sorted(path.name for path in outs.iterdir()) == sorted(OUTS)
    assert [path.name for path in outs.parent.iterdir()] == ["outs"]


@pytest.mark.parametrize("version", ["2.1.0", "1.0.1", "2.2.0"])
def test_refuses_other_versions_by_name(run, version: str) -> None:
    with pytest.raises(ToolError, match=rf"is version {version};.*2\.0\.1 and 2\.0\.2"):
        run(version)


def test_failure_tells_its_last_words(run, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"exit code 1\. .*\n.*preflight.*\n.*no space left"):
        run(fails=True)
    assert list((tmp_path / "sample" / "outs").iterdir()) == []


def test_incomplete_outs(run, tmp_path: Path) -> None:
    with pytest.raises(AlignError, match=r"made no atac_fragments\.tsv\.gz\.tbi in its outs/"):
        run(files=tuple(name for name in OUTS if not name.endswith(".tbi")))
    assert list((tmp_path / "sample" / "outs").iterdir()) == []


def test_missing_program(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"nowhere is not on PATH.*align\.engine: open"):
        run_cellranger_arc(
            pd.DataFrame(),
            tmp_path,
            tmp_path / "outs",
            sample="x",
            reference=tmp_path,
            program="nowhere",
            threads=1,
            memory_gib=1,
        )
