"""The genome in the form that the open engine's aligners search."""

import logging
import subprocess
import tempfile
from pathlib import Path

from epifoundation.errors import ToolError
from epifoundation.files import whole

logger = logging.getLogger(__name__)

BWA_SUFFIXES = (".amb", ".ann", ".bwt", ".pac", ".sa")


def index_star(
    fasta: Path | str, gtf: Path | str, directory: Path | str, *, index_bases: int, threads: int
) -> None:
    """Make the folder that STAR's --genomeDir takes; `index_bases` is --genomeSAindexNbases."""
    with (
        whole(directory) as partial,
        tempfile.TemporaryDirectory(dir=partial.parent, prefix=".star-") as scratch,
    ):
        command = ["STAR", "--runMode", "genomeGenerate", "--genomeDir", str(partial)]
        command += ["--genomeFastaFiles", str(fasta), "--sjdbGTFfile", str(gtf)]
        command += ["--genomeSAindexNbases", str(index_bases), "--runThreadN", str(threads)]
        command += ["--outFileNamePrefix", f"{scratch}/", "--outTmpDir", f"{scratch}/tmp"]
        _run(command)


def index_bwa(fasta: Path | str, prefix: Path | str) -> None:
    """Make `<prefix>.amb .ann .bwt .pac .sa`, so that `bwa mem <prefix>` finds the genome."""
    prefix = Path(prefix)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=prefix.parent, prefix=".bwa-") as scratch:
        made = Path(scratch, prefix.name)
        _run(["bwa", "index", "-p", str(made), str(fasta)])
        for suffix in BWA_SUFFIXES:
            Path(f"{made}{suffix}").replace(f"{prefix}{suffix}")


def _run(command: list[str]) -> None:
    """Run a program, its output going to the log."""
    logger.info("%s", " ".join(command))
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except FileNotFoundError:
        message = f"{command[0]} is not on PATH. `make setup` says how to install it."
        raise ToolError(message) from None
    lines: list[str] = []
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            logger.info("%s: %s", command[0], line.rstrip())
            lines.append(line.strip())
    if process.returncode:
        last = next((line for line in reversed(lines) if line), "no output")
        message = f"{command[0]} failed with code {process.returncode}: {last} (see the log)."
        raise ToolError(message)
