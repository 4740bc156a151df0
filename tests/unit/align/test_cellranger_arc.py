"""Cell Ranger ARC is called as its manual asks, by means of a stand-in that is strict about it."""

import fcntl
import sys
from pathlib import Path

import pandas as pd
import pytest
import scanpy as sc

from epifoundation.align.cellranger_arc import run_cellranger_arc
from epifoundation.align.layout import OUTS
from epifoundation.errors import AlignError, ToolError

# What the program checks of how it is called; `lanes` is how many each library has.
CALLED = """#!{python}
import csv, os, re, sys
from pathlib import Path
if {licence!r} and {licence!r} != "later":
    sys.exit({licence!r})
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
    libraries = list(csv.DictReader(handle))
assert list(libraries[0]) == ["fastqs", "sample", "library_type"]
kinds = sorted(library["library_type"] for library in libraries)
assert kinds == ["Chromatin Accessibility", "Gene Expression"]
for library in libraries:
    folder = Path(library["fastqs"])
    assert folder.is_absolute()
    reads = "R1 R2" if library["library_type"] == "Gene Expression" else "R1 R2 R3"
    expected = [
        f"{{library['sample']}}_S1_L{{lane:03d}}_{{read}}_001.fastq.gz"
        for lane in range(1, {lanes}[library["library_type"]] + 1) for read in reads.split()
    ]
    assert sorted(p.name for p in folder.iterdir()) == sorted(expected)
    assert all(p.resolve().is_file() for p in folder.iterdir())
"""
STAND_IN = (
    CALLED
    + """
print("Running preflight checks", flush=True)
if {licence!r} == "later":
    sys.exit("[error] The license of this installation has ended")
pipestance = Path(options["--id"])
if (pipestance / "_lock").exists():
    sys.exit("[error] RuntimeError: pipestance is locked by another instance")
(pipestance / "stages").mkdir(parents=True, exist_ok=True)
(pipestance / "_lock").touch()
for stage in ("align", "call"):
    if (pipestance / "stages" / stage).exists():
        print("reattached to", stage)
        continue
    if {fails} and stage == "call":
        print("[error] Pipestance failed. no space left", flush=True)
        os.kill(os.getpid(), 9) if {killed} else sys.exit(1)
    print("done", stage)
    (pipestance / "stages" / stage).touch()
(pipestance / "_lock").unlink()
outs = pipestance / "outs"
outs.mkdir()
for name in {files}:
    (outs / name).write_text("" if name == {empty!r} else name)
(outs / "atac_possorted_bam.bam").write_text("large")
(outs / "summary.csv").write_text("Sample ID,Pipeline version\\nx,cellranger-arc-{version}\\n")
"""
)


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

    def call(
        version: str = "2.0.1",
        files: tuple[str, ...] = OUTS,
        *,
        fails: bool = False,
        killed: bool = False,
        licence: str = "",
        empty: str = "",
        fastq_bytes: bytes = b"",
    ) -> Path:
        for file in manifest["file"]:
            (fastq / file).write_bytes(fastq_bytes)
        program = tmp_path / "cellranger-arc"
        behaviour = {"fails": fails, "killed": killed, "licence": licence, "files": files}
        behaviour["empty"] = empty
        behaviour["lanes"] = {"Gene Expression": 2, "Chromatin Accessibility": 2}
        text = STAND_IN.format(python=sys.executable, version=version, **behaviour)
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
    with pytest.raises(ToolError, match=r"exit code 1\. .*\n.*preflight(.*\n)+.*no space left"):
        run(fails=True)
    assert list((tmp_path / "sample" / "outs").iterdir()) == []


@pytest.mark.parametrize("killed", [False, True])
def test_goes_on_where_an_interrupted_run_ended(run, tmp_path: Path, caplog, killed: bool) -> None:
    with pytest.raises(ToolError, match="the same command goes on from there"):
        run(fails=True, killed=killed)
    assert (tmp_path / "sample/cellranger-arc/kidney_rep_1/_lock").exists()
    caplog.set_level("INFO")
    outs = run()
    assert "going on where an earlier run ended" in caplog.text
    assert "reattached to align" in caplog.text
    assert [path.name for path in outs.parent.iterdir()] == ["outs"]


def test_begins_anew_with_other_reads(run, caplog) -> None:
    with pytest.raises(ToolError):
        run(fails=True)
    caplog.set_level("INFO")
    run(fastq_bytes=b"other")
    assert "of other reads, reference or version; removed" in caplog.text
    assert "reattached" not in caplog.text


def test_does_not_start_beside_a_run_that_goes_on(run, tmp_path: Path) -> None:
    folder = tmp_path / "sample/cellranger-arc"
    folder.mkdir(parents=True)
    with (folder / ".in_use").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(AlignError, match="an earlier cellranger-arc of sample kidney.* runs"):
            run()
    run()


@pytest.mark.parametrize("licence", ["error: accept the EULA before use", "later"])
def test_a_licence_problem_is_told_as_such(run, licence: str) -> None:
    with pytest.raises(ToolError, match=r"for want of a licence \(.*(EULA|license).*engine: open"):
        run(licence=licence)


def test_empty_outputs(run) -> None:
    with pytest.raises(AlignError, match=r"made no raw_feature_bc_matrix\.h5 in its outs/"):
        run(empty="raw_feature_bc_matrix.h5")


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


BY_THE_OPEN_ENGINE = (
    CALLED
    + """
import pandas as pd
from epifoundation.align.open_engine import align_open
from epifoundation.config import AlignConfig
rows = []
for library in libraries:
    kind = "gex" if library["library_type"] == "Gene Expression" else "atac"
    for path in sorted(Path(library["fastqs"]).iterdir()):
        _, _, lane, read, _ = path.name.split("_")
        rows.append((str(path), kind, lane, read))
outs = Path(options["--id"], "outs")
align_open(
    pd.DataFrame(rows, columns=["file", "library", "lane", "read"]),
    Path("/"),
    outs,
    sample=options["--id"],
    star_index=Path(options["--reference"], "star"),
    bwa_index=Path(options["--reference"], "bwa", "genome.fa"),
    genome="toy",
    mitochondrial="chrM",
    config=AlignConfig(
        engine="open", cellranger_arc="", whitelist_gex={gex!r}, whitelist_atac={atac!r},
        min_mapping_quality=30, bwa_options=[],
    ),
    threads=int(options["--localcores"]),
)
summary = pd.read_csv(outs / "summary.csv")
summary["Pipeline version"] = "cellranger-arc-2.0.1"
summary.to_csv(outs / "summary.csv", index=False)
(outs / "web_summary.html").write_text("shown")
"""
)


def test_what_the_stand_in_aligns_is_kept_as_later_steps_read_it(
    library, reference, tmp_path: Path
) -> None:
    program = tmp_path / "cellranger-arc"
    lists = {"gex": str(library.whitelist_gex), "atac": str(library.whitelist_atac)}
    n_lanes = library.manifest.groupby("library")["lane"].nunique()
    lanes = {
        "Gene Expression": int(n_lanes["gex"]),
        "Chromatin Accessibility": int(n_lanes["atac"]),
    }
    called = {"version": "2.0.1", "licence": "", "lanes": lanes}
    program.write_text(BY_THE_OPEN_ENGINE.format(python=sys.executable, **called, **lists))
    program.chmod(0o755)
    arc = tmp_path / "arc"  # the indexes, as 10x's reference holds its own
    arc.mkdir()
    (arc / "reference.json").touch()
    for index in ("star", "bwa"):
        (arc / index).symlink_to(reference.folder / index)
    outs = tmp_path / "sample" / "outs"
    run_cellranger_arc(
        library.manifest,
        library.folder,
        outs,
        sample="toy",
        reference=arc,
        program=str(program),
        threads=3,
        memory_gib=64,
    )
    assert sorted(path.name for path in outs.iterdir()) == sorted(OUTS)
    cells = sc.read_10x_h5(outs / "filtered_feature_bc_matrix.h5")
    assert set(cells.obs_names) == library.cells
    metrics = pd.read_csv(outs / "per_barcode_metrics.csv")
    assert set(metrics.loc[metrics["is_cell"] == 1, "barcode"]) == library.cells
