"""FASTQ of what an archive holds in another form: its own runs, and Cell Ranger's BAM."""

import logging
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from epifoundation.acquire.content import FirstReads
from epifoundation.acquire.programs import run_program
from epifoundation.acquire.roles import ReadFile, assign_by_content, lanes_in_order
from epifoundation.acquire.routes import named
from epifoundation.errors import AcquireError, ToolError
from epifoundation.files import whole

logger = logging.getLogger(__name__)

SRA_TOOLS = "It is part of sra-tools 3 (apt: sra-toolkit, bioconda: sra-tools)."
BAMTOFASTQ = (
    "10x's program of that name comes with cellranger-arc (lib/bin) and from"
    " github.com/10XGenomics/bamtofastq; put it on PATH."
)
COMPRESSION = "It is part of htslib; `make setup` says how to install it."


@dataclass(frozen=True)
class Unpacked:
    """A FASTQ file made here, with the read it holds."""

    path: Path
    library: str
    lane: str
    read: str
    origin: str


def unpack(
    manifest: pd.DataFrame, folder: Path, first: FirstReads, *, threads: int
) -> list[Unpacked]:
    """Make FASTQ of the rows of a MANIFEST whose route is not `fastq`, in `<folder>/unpacked`.

    The files lie in `folder`. What is made of one is there whole or not at all, and not made again.
    Lanes are numbered after those of the library that the manifest lists as FASTQ.
    """
    made: list[Unpacked] = []
    for library in ("gex", "atac"):
        rows = manifest[manifest["library"] == library]
        files: list[ReadFile] = []
        for row in rows[rows["route"] != "fastq"].to_dict("records"):
            source, target = folder / str(row["file"]), folder / "unpacked" / str(row["file"])
            if not target.is_dir():
                logger.info("making FASTQ of %s", source.name)
                with whole(target) as partial:
                    MAKERS[str(row["route"])](source, partial, threads)
            run = str(row["origin"]) if "origin" in row else str(row["lane"])
            files += _read_files(target, run, first)
        n_before = rows.loc[rows["route"] == "fastq", "lane"].nunique()
        for number, (_, members) in enumerate(lanes_in_order(files), start=n_before + 1):
            run = members[0].run
            reads = assign_by_content(members, library, first, run=run, hint=_advice(rows, run))
            made += [
                Unpacked(Path(file.url), library, f"L{number:03d}", read, run)
                for read, file in reads.items()
            ]
    return made


def _advice(rows: pd.DataFrame, run: str) -> str:
    route = rows.loc[rows["route"] != "fastq", "route"].iloc[0]
    if route == "bam":
        return (
            f"Of {run} only Cell Ranger's own, untouched BAM would do (its records have the tags CR"
            " and CY, those of GEX also UR and UY), or the original FASTQ files."
        )
    return (
        f"The archived run {run} was loaded without it. The original FASTQ files or the Cell Ranger"
        " BAM would do: ask its authors."
    )


def _read_files(folder: Path, run: str, first: FirstReads) -> list[ReadFile]:
    found = sorted(folder.rglob("*.fastq.gz"))
    files = []
    for path in found:
        file = named(ReadFile(path.name, str(path), path.stat().st_size, "", run, run))
        lane = f"{path.parent.relative_to(folder)} {file.lane} {path.stem[-9:]}"
        illumina = path.parent != folder  # bamtofastq: a folder a flow cell, parts of 50 M reads
        files.append(
            replace(
                file,
                lane=lane if illumina else run,
                read=file.read if illumina else "",
                read_length=first.length(str(path)),
            )
        )
    return files


def from_run(source: Path, folder: Path, threads: int) -> None:
    """Write all reads of an archived run, technical ones too, one gzipped file a read."""
    folder.mkdir(parents=True)
    scratch = folder / "scratch"
    scratch.mkdir()
    run_program(
        [
            "fasterq-dump", str(source.resolve()), "--split-files", "--include-technical",
            "--threads", str(threads), "--outdir", str(folder), "--temp", str(scratch),
        ],
        SRA_TOOLS,
    )  # fmt: skip
    shutil.rmtree(scratch)
    plain = sorted(folder.glob("*.fastq"))
    if not plain:
        message = (
            f"{source}: fasterq-dump made no FASTQ of it. See the log, and the run's SRA page."
        )
        raise AcquireError(message)
    for path in plain:  # older bgzip takes one file a call
        run_program(["bgzip", "--threads", str(threads), str(path)], COMPRESSION)


def from_bam(source: Path, folder: Path, threads: int) -> None:
    """Write the reads of a Cell Ranger BAM, as 10x's bamtofastq lays them out."""
    _check_bamtofastq()
    run_program(["bamtofastq", f"--nthreads={threads}", str(source), str(folder)], BAMTOFASTQ)
    if not any(folder.rglob("*.fastq.gz")):
        message = (
            f"{source}: bamtofastq made no FASTQ of it. It needs Cell Ranger's own BAM, whose"
            " records hold the raw barcodes (tags CR, CY); see the log."
        )
        raise AcquireError(message)


def _check_bamtofastq() -> None:
    """Raise ToolError if the program of this name is not 10x's: biobambam has one too."""
    path = shutil.which("bamtofastq")
    if path is None:
        message = f"bamtofastq is not on PATH. {BAMTOFASTQ}"
        raise ToolError(message)
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    if not shown.stdout.strip().startswith("bamtofastq"):
        message = f"{path} is another program of that name, not 10x's. {BAMTOFASTQ}"
        raise ToolError(message)


def prefetch(run: str, target: Path) -> None:
    """Fetch an archived run by sra-tools, which verify it; an interrupted one goes on."""
    folder = target.with_name(f"{target.name}.prefetch")
    run_program(["prefetch", run, "--max-size", "1t", "--output-directory", str(folder)], SRA_TOOLS)
    found = sorted(folder.rglob(f"{run}.sra*"))
    if not found:
        message = f"{run}: prefetch brought no .sra of it. See the log, and the run's SRA page."
        raise AcquireError(message)
    run_program(["vdb-validate", str(found[0])], SRA_TOOLS)
    found[0].replace(target)
    shutil.rmtree(folder)


MAKERS = {"bam": from_bam, "sra": from_run}
