"""Which of a run's files is which read of Cell Ranger ARC, told by read length."""

from collections.abc import Sequence
from dataclasses import dataclass

from epifoundation.errors import AcquireError

GEX_BARCODE_LENGTHS = range(26, 29)  # 16 cell barcode + 10 or 12 UMI
ATAC_BARCODE_LENGTHS = (16, 24)  # alone, or beside 8 bases of spacer
MIN_CDNA_LENGTH = 50
MIN_GENOMIC_LENGTH = 30
MAX_INDEX_LENGTH = 12  # of the sample index, which no later step reads


@dataclass(frozen=True)
class ReadFile:
    """A FASTQ file as its source describes it.

    `read` is the read its source declares in Cell Ranger ARC's words (R1 R2 R3 I1; ATAC R2 is the
    barcode read), empty where it declares none. `read_length` is None where unknown. `lane`
    distinguishes files that belong together from others of the run.
    """

    name: str
    url: str
    bytes: int
    md5: str
    run: str
    lane: str
    read: str = ""
    read_length: int | None = None


def assign_reads(
    files: Sequence[ReadFile], library: str, *, run: str, hint: str
) -> dict[str, ReadFile]:
    """Return the files of one lane by read: R1 and R2 of `gex`, R1, R2 and R3 of `atac`.

    Read lengths decide. What the source declares decides where a length is unknown, and which of
    two genomic reads is first. A number in a file's name never does: archives renumber. Sample
    index reads are left out. The error that a lacking read raises begins with `run` and ends with
    `hint`.
    """
    kinds: dict[str, list[ReadFile]] = {}
    for file in sorted(files, key=lambda f: (f.read, f.name)):
        kinds.setdefault(_kind(file, library), []).append(file)
    barcode = kinds.get("barcode", [])
    other = kinds.get("sequence", [])
    if library == "gex" and not barcode and [f.read for f in other] == ["R1", "R2"]:
        barcode, other = other[:1], other[1:]  # R1 sequenced beyond its barcode and UMI
    needed = 1 if library == "gex" else 2
    problem = _problem(library, barcode, other, needed)
    if problem:
        found = ", ".join(_described(f) for f in files) or "no file"
        message = f"{run}: {problem}. Found: {found}. {hint}"
        raise AcquireError(message)
    if library == "gex":
        return {"R1": barcode[0], "R2": other[0]}
    return {"R1": other[0], "R2": barcode[0], "R3": other[1]}


def _problem(
    library: str, barcode: list[ReadFile], other: list[ReadFile], needed: int
) -> str | None:
    if library == "gex":
        lengths, sequence = "28 bases", f"cDNA read ({MIN_CDNA_LENGTH} bases or more)"
    else:
        lengths, sequence = "16 or 24 bases", f"genomic reads ({MIN_GENOMIC_LENGTH} bases or more)"
    if not barcode:
        return f"the {library.upper()} barcode read ({lengths}) is lacking"
    if len(barcode) > 1:
        return f"{len(barcode)} files look like the {library.upper()} barcode read ({lengths})"
    if len(other) != needed:
        return f"{len(other)} files look like the {library.upper()} {sequence}, expected {needed}"
    return None


def _kind(file: ReadFile, library: str) -> str:
    """Return barcode | sequence | index | unclear."""
    length = file.read_length
    if length is None:
        declared = {
            "gex": {"R1": "barcode", "R2": "sequence"},
            "atac": {"R1": "sequence", "R2": "barcode", "R3": "sequence"},
        }
        default = "index" if file.read.startswith("I") else "unclear"
        return declared[library].get(file.read, default)
    if length <= MAX_INDEX_LENGTH:
        return "index"
    if length in (GEX_BARCODE_LENGTHS if library == "gex" else ATAC_BARCODE_LENGTHS):
        return "barcode"
    least = MIN_CDNA_LENGTH if library == "gex" else MIN_GENOMIC_LENGTH
    return "sequence" if length >= least else "unclear"


def _described(file: ReadFile) -> str:
    parts = [f"declared {file.read}"] if file.read else []
    parts += [f"{file.read_length} bases" if file.read_length else "read length unknown"]
    return f"{file.name} ({', '.join(parts)})"
