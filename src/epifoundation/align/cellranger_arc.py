"""Cell Ranger ARC 2.0: its inputs laid out, the program run, and what later steps read kept."""

import csv
import fcntl
import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from epifoundation.align.fastq import Lane, lanes_of
from epifoundation.align.layout import OUTS
from epifoundation.errors import AlignError, ToolError

logger = logging.getLogger(__name__)

VERSION = r"2\.0\.\d+"  # the paper's is 2.0.1
LIBRARY_TYPES = {"gex": "Gene Expression", "atac": "Chromatin Accessibility"}
WORKING_FOLDER = "cellranger-arc"
LICENCE = re.compile(r"licen[cs]e|\bEULA\b", re.IGNORECASE)
WORDS_KEPT = 8  # last lines of its output in an error


def run_cellranger_arc(
    manifest: pd.DataFrame,
    fastq: Path,
    outs: Path,
    *,
    sample: str,
    reference: Path,
    program: str,
    threads: int,
    memory_gib: int,
) -> None:
    """Run `cellranger-arc count` on one sample and move the files of layout.OUTS into `outs`.

    `manifest` follows contracts.MANIFEST and names the files in `fastq`; `reference` is the
    unpacked 10x reference. It works in a folder beside `outs`, which is removed with all its other
    outputs when they are complete; after an interruption or a failure it stays, and the same call
    goes on where the last one ended, as Cell Ranger does with the stages of a folder it knows.
    """
    path, version = find_cellranger_arc(program)
    lanes = {library: lanes_of(manifest, library, fastq) for library in LIBRARY_TYPES}
    outs.mkdir(parents=True, exist_ok=True)
    identifier = re.sub(r"[^A-Za-z0-9_-]", "_", sample)[:64]
    with _working_folder(outs.parent.resolve() / WORKING_FOLDER, sample) as (work, lock):
        pipestance = work / identifier
        _go_on_or_begin(work, pipestance, _invocation(version, reference, lanes))
        arguments = {
            "--id": identifier,
            "--reference": str(reference.resolve()),
            "--libraries": str(write_libraries(lanes, work)),
            "--localcores": str(threads),
            "--localmem": str(memory_gib),
        }
        words = [f"{name}={value}" for name, value in arguments.items()]
        _run([path, "count", *words, "--disable-ui"], work, lock)
        made = pipestance / "outs"
        missing = [name for name in OUTS if not _holds_something(made / name)]
        if missing:
            message = (
                f"cellranger-arc ended without error but made no {', '.join(missing)} in its outs/"
                f" for sample {sample}. Look at its words in this job's log, and remove {work}."
            )
            raise AlignError(message)
        check_summary(made / "summary.csv")
        for name in OUTS:
            (made / name).replace(outs / name)
        shutil.rmtree(work)


@contextmanager
def _working_folder(work: Path, sample: str) -> Iterator[tuple[Path, int]]:
    """Yield the folder and the lock on it, which the program inherits: it ends with both."""
    work.mkdir(exist_ok=True)
    lock = os.open(work / ".in_use", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        message = (
            f"{work} is in use: an earlier cellranger-arc of sample {sample} still runs. Wait for"
            " it, or end it, and start again."
        )
        raise AlignError(message) from None
    else:
        yield work, lock
    finally:
        os.close(lock)


def _invocation(
    version: str, reference: Path, lanes: Mapping[str, Sequence[Lane]]
) -> dict[str, object]:
    """Return what an earlier run must have been started with for this one to go on from it."""
    files = [path for part in lanes.values() for lane in part for path in lane.files.values()]
    sizes = {path.name: path.stat().st_size for path in files}
    return {"version": version, "reference": str(reference.resolve()), "fastq": sizes}


def _go_on_or_begin(work: Path, pipestance: Path, invocation: dict[str, object]) -> None:
    """Unlock what an interrupted run of the same invocation left; remove that of any other."""
    note = work / "invocation.json"
    earlier = json.loads(note.read_text()) if note.exists() else None
    if pipestance.exists() and earlier == invocation:
        logger.info("%s: going on where an earlier run ended", pipestance)
        # ours is the only run, by the lock of the folder; Cell Ranger leaves its own when killed
        (pipestance / "_lock").unlink(missing_ok=True)
    elif pipestance.exists():
        logger.warning("%s is of other reads, reference or version; removed", pipestance)
        shutil.rmtree(pipestance)
    note.write_text(json.dumps(invocation, indent=1))


def _holds_something(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def find_cellranger_arc(program: str) -> tuple[str, str]:
    """Return path and version of cellranger-arc, refusing any version but 2.0.x."""
    path = shutil.which(program)
    if path is None:
        message = (
            f"{program} is not on PATH. Install Cell Ranger ARC 2.0.1 from 10x Genomics (licence"
            " needed) and set align.cellranger_arc, or set align.engine: open."
        )
        raise ToolError(message)
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    said = (shown.stdout + shown.stderr).strip()
    if shown.returncode and LICENCE.search(said):
        raise ToolError(_licence_message(path, said))
    found = re.search(r"\d+(?:\.\d+)+", said)
    if found is None or not re.fullmatch(VERSION, found.group()):
        version = found.group() if found else f"unknown ({said[:60]!r})"
        message = (
            f"{path} is version {version}; the layout and options used here are those of"
            " cellranger-arc 2.0.1 and 2.0.2. Set align.cellranger_arc to one of these."
        )
        raise ToolError(message)
    return path, found.group()


def _licence_message(program: str, said: str) -> str:
    line = next(line for line in said.splitlines() if LICENCE.search(line))
    return (
        f"{program} does not run for want of a licence ({line.strip()[:200]}). Accept 10x's licence"
        " agreement for this installation, or set align.engine: open."
    )


def write_libraries(lanes: Mapping[str, Sequence[Lane]], folder: Path) -> Path:
    """Link the reads under the names Cell Ranger accepts; return the libraries.csv of them."""
    path = folder / "libraries.csv"
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["fastqs", "sample", "library_type"])
        for library, library_type in LIBRARY_TYPES.items():
            links = folder / library
            shutil.rmtree(links, ignore_errors=True)
            links.mkdir()
            for number, lane in enumerate(lanes[library], start=1):
                for read, file in lane.files.items():
                    name = f"{library}_S1_L{number:03d}_{read}_001.fastq.gz"
                    (links / name).symlink_to(file.resolve())
            writer.writerow([links, library, library_type])
    return path


def check_summary(path: Path) -> None:
    """Raise AlignError unless summary.csv says it was made by Cell Ranger ARC 2.0.x."""
    with path.open(newline="") as handle:
        row = next(csv.DictReader(handle), {})
    version = row.get("Pipeline version", "")
    if not re.fullmatch(f"cellranger-arc-{VERSION}", version):
        message = (
            f"{path}: Pipeline version is {version!r}, expected cellranger-arc-2.0.x."
            " Check align.cellranger_arc."
        )
        raise AlignError(message)


def _run(command: list[str], folder: Path, lock: int) -> None:
    logger.info("%s", " ".join(command))
    last: list[str] = []
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=[lock],
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:  # its stages, with times: the progress of this job
                logger.info("cellranger-arc: %s", line.rstrip())
                last = [*last, line.rstrip()][-WORDS_KEPT:]
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        if any(LICENCE.search(line) for line in last):
            raise ToolError(_licence_message(command[0], "\n".join(last)))
        said = "\n".join(f"  {line}" for line in last) or "  (nothing)"
        message = (
            f"cellranger-arc failed with exit code {process.returncode}. Its last words:\n{said}\n"
            f"All of them are in this job's log. What is done stays in {folder}: the same command"
            " goes on from there; remove the folder to begin anew."
        )
        raise ToolError(message)
