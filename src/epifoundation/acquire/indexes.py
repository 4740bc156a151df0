"""The genome in the form that the open engine's aligners search."""

import tempfile
from pathlib import Path

from epifoundation.acquire.programs import run_program
from epifoundation.files import whole

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
        run_program(command)


def index_bwa(fasta: Path | str, prefix: Path | str) -> None:
    """Make `<prefix>.amb .ann .bwt .pac .sa`, so that `bwa mem <prefix>` finds the genome."""
    prefix = Path(prefix)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=prefix.parent, prefix=".bwa-") as scratch:
        made = Path(scratch, prefix.name)
        run_program(["bwa", "index", "-p", str(made), str(fasta)])
        for suffix in BWA_SUFFIXES:
            Path(f"{made}{suffix}").replace(f"{prefix}{suffix}")
