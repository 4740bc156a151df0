"""Cell Ranger ARC 2.0: its inputs laid out, the program run, and what later steps read kept."""

import csv
import logging
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from epifoundation.align.fastq import Lane, lanes_of
from epifoundation.align.layout import OUTS
from epifoundation.errors import AlignError, ToolError

logger = logging.getLogger(__name__)

VERSION = r"2\.0\.\d+"  # the paper's is 2.0.1
LIBRARY_TYPES = {"gex": "Gene Expression", "atac": "Chromatin Accessibility"}
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
    unpacked 10x reference. Its other outputs and its working folder are removed.
    """
    path = find_cellranger_arc(program)
    lanes = {library: lanes_of(manifest, library, fastq) for library in LIBRARY_TYPES}
    outs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=outs.parent, prefix=".scratch-") as folder:
        scratch = Path(folder).resolve()
        libraries = write_libraries(lanes, scratch)
        identifier = re.sub(r"[^A-Za-z0-9_-]", "_", sample)[:64]
        arguments = {
            "--id": identifier,
            "--reference": str(reference.resolve()),
            "--libraries": str(libraries),
            "--localcores": str(threads),
            "--localmem": str(memory_gib),
        }
        _run([path, "count", *(f"{k}={v}" for k, v in arguments.items()), "--disable-ui"], scratch)
        made = scratch / identifier / "outs"
        missing = [name for name in OUTS if not (made / name).is_file()]
        if missing:
            message = (
                f"cellranger-arc ended without error but made no {', '.join(missing)} in its outs/"
                f" for sample {sample}. Look at its words in this job's log."
            )
            raise AlignError(message)
        check_summary(made / "summary.csv")
        for name in OUTS:
            (made / name).replace(outs / name)


def find_cellranger_arc(program: str) -> str:
    """Return the path of cellranger-arc, refusing any version but 2.0.x."""
    path = shutil.which(program)
    if path is None:
        message = (
            f"{program} is not on PATH. Install Cell Ranger ARC 2.0.1 from 10x Genomics (licence"
            " needed) and set align.cellranger_arc, or set align.engine: open."
        )
        raise ToolError(message)
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    said = (shown.stdout + shown.stderr).strip()
    found = re.search(r"\d+(?:\.\d+)+", said)
    if found is None or not re.fullmatch(VERSION, found.group()):
        version = found.group() if found else f"unknown ({said[:60]!r})"
        message = (
            f"{path} is version {version}; the layout and options used here are those of"
            " cellranger-arc 2.0.1 and 2.0.2. Set align.cellranger_arc to one of these."
        )
        raise ToolError(message)
    return path


def write_libraries(lanes: Mapping[str, Sequence[Lane]], folder: Path) -> Path:
    """Link the reads under the names Cell Ranger accepts; return the libraries.csv of them."""
    path = folder / "libraries.csv"
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["fastqs", "sample", "library_type"])
        for library, library_type in LIBRARY_TYPES.items():
            links = folder / library
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


def _run(command: list[str], folder: Path) -> None:
    logger.info("%s", " ".join(command))
    last: list[str] = []
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:  # its stages, with times: the progress of this job
            logger.info("cellranger-arc: %s", line.rstrip())
            last = [*last, line.rstrip()][-WORDS_KEPT:]
    if process.returncode:
        said = "\n".join(f"  {line}" for line in last) or "  (nothing)"
        message = (
            f"cellranger-arc failed with exit code {process.returncode}. Its last words:\n{said}\n"
            "All of them are in this job's log."
        )
        raise ToolError(message)
