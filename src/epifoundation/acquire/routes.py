"""The ways to a run's reads, tried in order until one holds them all."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import PurePosixPath

from epifoundation.acquire.content import FirstReads
from epifoundation.acquire.hosts import Hosts
from epifoundation.acquire.locator import BAM, FASTQ, located_files
from epifoundation.acquire.roles import ReadFile, assign_by_content
from epifoundation.errors import AcquireError

logger = logging.getLogger(__name__)

# bcl2fastq's names: <sample>_S1_L001_R1_001.fastq.gz; SRA keeps originals as <name>.1
ILLUMINA_READ = re.compile(r"_(?P<read>[RI][123])(?P<rest>(_\d{3})?\.f(ast)?q\.gz(\.\d+)?)$")
ENA_NUMBER = re.compile(r"_\d\.f(ast)?q\.gz$")
OWN_FILES = (
    "List such files in a catalogue of your own and set the sample's source to `catalogue`"
    " (config/README.md)."
)
Run = Mapping[str, str]


def files_of_run(
    run: Run, library: str, hosts: Hosts, first: FirstReads, *, retries: int
) -> list[ReadFile]:
    """Return the files that hold all reads of a run, by the first way that does.

    1. FASTQ: the submitter's own at ENA, ENA's own (which leaves out what SRA marks as technical,
       10x barcodes among it), the submitter's own at NCBI.
    2. The BAM that was submitted, at ENA or NCBI: its FASTQ is made once it is here.
    3. The archived run, from which `fasterq-dump` takes technical reads too.

    What an earlier way lacks is logged, and in the error if no way is left.
    """
    name = run["run_accession"]
    at_ncbi = cache(lambda: located_files(name, hosts, retries=retries))  # only where it is needed
    submitted = listed(run, "submitted", hosts)
    fastq_ways: dict[str, Callable[[], list[ReadFile]]] = {
        "submitted FASTQ at ENA": lambda: [f for f in submitted if FASTQ.search(f.name)],
        "FASTQ by ENA": lambda: _without_orphans(listed(run, "fastq", hosts)),
        "submitted FASTQ at NCBI": lambda: [named(f) for f in at_ncbi() if f.route == "fastq"],
    }
    lacking = []
    for way, find in fastq_ways.items():
        if not (files := find()):
            continue
        try:
            return _whole_lanes(files, library, name, first)
        except AcquireError as error:
            lacking.append(f"{way}: {str(error).removeprefix(f'{name}: ').strip(' .')}")
            logger.warning("%s, %s; trying the next way", name, lacking[-1])
    ways = (
        [replace(f, route="bam", lane=name) for f in submitted if BAM.search(f.name)],
        [f for f in at_ncbi() if f.route == "bam"],
        [f for f in at_ncbi() if f.route == "sra"],
    )
    for files in ways:
        if files:
            logger.info("%s: by %s (%s)", name, files[0].name, files[0].route)
            return files[:1] if files[0].route == "sra" else files
    addresses = filter(None, (run.get("submitted_ftp") or "").split(";"))
    unsure = [a for a in map(_name, addresses) if a not in {f.name for f in submitted}]
    lacking += [f"{file} was submitted, but ENA tells no size and MD5 of it" for file in unsure]
    found = "; ".join(lacking) or "no archive lists a file of it"
    message = (
        f"{name} has no file with all {library.upper()} reads: {found}; NCBI lists neither a BAM"
        f" nor the archived run. It would do: the original FASTQ files, the Cell Ranger BAM (for"
        f" `bamtofastq`), or the .sra (for `fasterq-dump --include-technical`). {OWN_FILES}"
    )
    raise AcquireError(message)


def _whole_lanes(
    files: list[ReadFile], library: str, run: str, first: FirstReads
) -> list[ReadFile]:
    """Return the files with their read lengths, or raise AcquireError if a lane lacks a read."""
    measured = [replace(file, read_length=first.length(file.url)) for file in files]
    for lane in dict.fromkeys(f.lane for f in measured):
        members = [f for f in measured if f.lane == lane]
        assign_by_content(members, library, first, run=run, hint="")
    return measured


def listed(run: Run, kind: str, hosts: Hosts) -> list[ReadFile]:
    """Return what ENA lists under `kind` (fastq or submitted) with size and checksum."""
    name = run["run_accession"]
    columns = [run.get(f"{kind}_{what}") or "" for what in ("ftp", "bytes", "md5")]
    addresses, sizes, checksums = (column.split(";") for column in columns)
    if not len(addresses) == len(sizes) == len(checksums):
        return []
    return [
        named(
            ReadFile(
                name=_name(address),
                url=address if "://" in address else hosts.ena_files + address,
                bytes=int(size),
                md5=md5,
                run=name,
                lane=name,
            )
        )
        for address, size, md5 in zip(addresses, sizes, checksums, strict=True)
        if address and size and md5  # a file that cannot be verified is not taken
    ]


def _name(address: str) -> str:
    return PurePosixPath(address).name


def named(file: ReadFile) -> ReadFile:
    """Return the file with the lane and the read that its name tells."""
    illumina = ILLUMINA_READ.search(file.name)
    lane = (ILLUMINA_READ if illumina else ENA_NUMBER).sub("", file.name)
    return replace(file, lane=f"{file.run} {lane}", read=illumina["read"] if illumina else "")


def _without_orphans(files: list[ReadFile]) -> list[ReadFile]:
    """Drop the file of reads without a mate (`<run>.fastq.gz`) that may lie beside the pairs."""
    numbered = [f for f in files if ENA_NUMBER.search(f.name)]
    return numbered or files
