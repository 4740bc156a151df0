"""Which of a run's files is which read of Cell Ranger ARC, told by read length."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from epifoundation.acquire.content import MIN_MATCH, FirstReads
from epifoundation.errors import AcquireError

GEX_BARCODE_LENGTHS = range(26, 29)  # 16 cell barcode + 10 or 12 UMI
ATAC_BARCODE_LENGTHS = (16, 24)  # alone, or beside 8 bases of spacer
MIN_CDNA_LENGTH = 50
MIN_GENOMIC_LENGTH = 30
MAX_INDEX_LENGTH = 12  # of the sample index, which no later step reads


LANE = re.compile(r"L\d{3}")
Route = Literal["fastq", "bam", "sra"]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadFile:
    """A file as its source describes it: FASTQ, or what FASTQ is made of once it is here.

    `read` is the read its source declares in Cell Ranger ARC's words (R1 R2 R3 I1; ATAC R2 is the
    barcode read), empty where it declares none. `read_length` is None where unknown. `lane`
    distinguishes files that belong together from others of the run. `md5` is empty where the source
    tells none; `sha256:` may stand before another checksum.
    """

    name: str
    url: str
    bytes: int
    md5: str
    run: str
    lane: str
    read: str = ""
    read_length: int | None = None
    route: Route = "fastq"


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


def lanes_in_order(files: Sequence[ReadFile]) -> list[tuple[str, list[ReadFile]]]:
    """Return the files by lane, under the lanes' own names (L001 …) or numbered in their order."""
    lanes = list(dict.fromkeys(f.lane for f in files))
    keep_names = all(LANE.fullmatch(lane) for lane in lanes)
    return [
        (lane if keep_names else f"L{number:03d}", [f for f in files if f.lane == lane])
        for number, lane in enumerate(sorted(lanes), start=1)
    ]


def assign_by_content(
    files: Sequence[ReadFile], library: str, first: FirstReads, *, run: str, hint: str
) -> dict[str, ReadFile]:
    """Return the files of one lane by read, as `assign_reads`, held to what the files begin with.

    Where lengths do not tell which file holds the barcodes, or the one they tell holds none, it is
    the one whose first 10,000 reads begin or end with listed barcodes.
    """
    try:
        reads = assign_reads(files, library, run=run, hint=hint)
        problem = None
    except AcquireError as error:
        reads, problem = {}, error
    place = "R1" if library == "gex" else "R2"
    if reads:
        share = first.share(reads[place].url, library)
        if share is None or share >= MIN_MATCH:
            return reads
        found = f"{reads[place].name} ({share:.1%} of its first reads)"
    elif first.lists is None or len(files) < (2 if library == "gex" else 3):
        raise problem if problem else AssertionError
    shares = {file.name: first.share(file.url, library) or 0.0 for file in files}
    fitting = [file for file in files if shares[file.name] >= MIN_MATCH]
    if len(fitting) == 1:
        told = [_told(file, library, holds_barcodes=file is fitting[0]) for file in files]
        reads = assign_reads(told, library, run=run, hint=hint)
        logger.warning(
            "%s: %s holds the %s barcodes (%.0f %% of its first reads), whatever it is called",
            run, fitting[0].name, library.upper(), 100 * shares[fitting[0].name],
        )  # fmt: skip
        original = {file.name: file for file in files}
        return {read: original[file.name] for read, file in reads.items()}
    if problem:
        raise problem
    message = (
        f"{run}: no file begins or ends with 10x Multiome's {library.upper()} barcodes; expected in"
        f" {found}. The reads are of another kit or another library, or align.whitelist_{library}"
        f" names another list. {hint}"
    )
    raise AcquireError(message)


def _told(file: ReadFile, library: str, *, holds_barcodes: bool) -> ReadFile:
    """Return the file with the length by which `assign_reads` knows its kind."""
    length = file.read_length or MIN_CDNA_LENGTH
    if holds_barcodes:
        return replace(file, read_length=GEX_BARCODE_LENGTHS[-1] if library == "gex" else 24)
    barcode_like = length in (*GEX_BARCODE_LENGTHS, *ATAC_BARCODE_LENGTHS)
    return replace(file, read_length=MIN_CDNA_LENGTH if barcode_like else length)


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
