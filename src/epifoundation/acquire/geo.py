"""Accessions of GEO: sample to SRA experiment through GEO, experiment to files through ENA."""

import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from epifoundation.acquire.hosts import Hosts
from epifoundation.acquire.roles import ReadFile, assign_reads
from epifoundation.acquire.transfer import read_beginning
from epifoundation.acquire.web import get_json, get_text
from epifoundation.errors import AcquireError

SRA_ACCESSION = re.compile(r"[SED]R[XR]\d+")
# bcl2fastq's names: <sample>_S1_L001_R1_001.fastq.gz; SRA keeps originals as <name>.1
ILLUMINA_READ = re.compile(r"_(?P<read>[RI][123])(?P<rest>(_\d{3})?\.f(ast)?q\.gz(\.\d+)?)$")
ENA_NUMBER = re.compile(r"_\d\.fastq\.gz$")
FASTQ = re.compile(r"\.f(ast)?q\.gz(\.\d+)?$")
STRATEGY = {"gex": "RNA-Seq", "atac": "ATAC-seq"}
BEGINNING_BYTES = 1 << 16
OWN_FILES = (
    "List such files in a catalogue of your own and set the sample's source to `catalogue`"
    " (config/README.md)."
)
Run = Mapping[str, str]


def files_at_geo(accession: str, library: str, hosts: Hosts, *, retries: int) -> list[ReadFile]:
    """Return the FASTQ files of a GEO sample (GSM), or of an SRA experiment or run.

    The submitter's own FASTQ files are preferred to those ENA makes of the archived run: only the
    former are sure to hold the index and barcode reads. Read lengths are read off the files.
    """
    runs = [
        run
        for experiment in _experiments(accession, hosts, retries)
        for run in _runs(accession, experiment, hosts, retries)
    ]
    strategies = {run.get("library_strategy", "") for run in runs}
    other = STRATEGY["atac" if library == "gex" else "gex"]
    if other in strategies:
        message = (
            f"{accession} is {other} in the archive, not {STRATEGY[library]}. Are rna and atac"
            " exchanged in the sample sheet?"
        )
        raise AcquireError(message)
    return [
        file
        for run in sorted(runs, key=lambda r: r["run_accession"])
        for file in _files_of_run(run, library, hosts, retries)
    ]


def _experiments(accession: str, hosts: Hosts, retries: int) -> list[str]:
    if SRA_ACCESSION.fullmatch(accession):
        return [accession]
    url = hosts.geo_sample(accession)
    record = get_text(url, retries=retries) or ""
    if f"^SAMPLE = {accession}" not in record:
        message = (
            f"GEO does not show a sample {accession} ({url}). Correct it in the sample sheet; a"
            " series (GSE) is not a sample, and a private sample is not shown."
        )
        raise AcquireError(message)
    relations = re.findall(r"^!Sample_relation = SRA: \S*?(SRX\d+)\s*$", record, flags=re.MULTILINE)
    if not relations:
        message = (
            f"{accession}: its GEO record names no SRA experiment, so its reads are not public"
            f" ({url}). {OWN_FILES}"
        )
        raise AcquireError(message)
    return list(dict.fromkeys(relations))


def _runs(accession: str, experiment: str, hosts: Hosts, retries: int) -> list[Run]:
    url = hosts.ena_runs(experiment)
    runs = get_json(url, retries=retries)
    if not runs:
        message = (
            f"{accession}: ENA lists no run of {experiment} ({url}). It was withdrawn, is under"
            " controlled access, or is too new; see its SRA page."
        )
        raise AcquireError(message)
    return list(runs)


def _files_of_run(run: Run, library: str, hosts: Hosts, retries: int) -> list[ReadFile]:
    """Return the files of a run that hold its reads, or say what the archive lacks."""
    submitted = [f for f in _listed(run, "submitted", hosts) if FASTQ.search(f.name)]
    files = submitted or _without_orphans(_listed(run, "fastq", hosts))
    measured = [
        replace(file, read_length=first_read_length(file.url, retries=retries)) for file in files
    ]
    for lane in dict.fromkeys(f.lane for f in measured) or ("",):
        members = [f for f in measured if f.lane == lane]
        hint = _hint(run, generated=not submitted)
        assign_reads(members, library, run=run["run_accession"], hint=hint)
    return measured


def _listed(run: Run, kind: str, hosts: Hosts) -> list[ReadFile]:
    """Return what ENA lists under `kind` (fastq or submitted) with size and checksum."""
    name = run["run_accession"]
    columns = [run.get(f"{kind}_{what}") or "" for what in ("ftp", "bytes", "md5")]
    addresses, sizes, checksums = (column.split(";") for column in columns)
    if not len(addresses) == len(sizes) == len(checksums):
        return []
    files = []
    for address, size, md5 in zip(addresses, sizes, checksums, strict=True):
        if not (address and size and md5):
            continue  # a file that cannot be verified is not taken
        file_name = PurePosixPath(address).name
        illumina = ILLUMINA_READ.search(file_name)
        lane = ILLUMINA_READ.sub("", file_name) if illumina else ENA_NUMBER.sub("", file_name)
        url = address if "://" in address else hosts.ena_files + address
        read = illumina["read"] if illumina else ""
        files.append(ReadFile(file_name, url, int(size), md5, name, f"{name} {lane}", read))
    return files


def _without_orphans(files: list[ReadFile]) -> list[ReadFile]:
    """Drop the file of reads without a mate (`<run>.fastq.gz`) that may lie beside the pairs."""
    numbered = [f for f in files if ENA_NUMBER.search(f.name)]
    return numbered or files


def _hint(run: Run, *, generated: bool) -> str:
    bams = [a for a in (run.get("submitted_ftp") or "").split(";") if ".bam" in a]
    if bams:
        original = PurePosixPath(bams[0]).name
        return (
            f"The run was submitted as {original}: fetch it and turn it into FASTQ with"
            f" `cellranger bamtofastq`. {OWN_FILES}"
        )
    if generated:
        return (
            "ENA's FASTQ leaves out reads that SRA marks as technical, 10x barcodes among them."
            f" Get all with `prefetch {run['run_accession']}` and `fasterq-dump --split-files"
            f" --include-technical`. {OWN_FILES}"
        )
    return f"The submitted files lack it; ask their authors. {OWN_FILES}"


def first_read_length(url: str, *, retries: int) -> int:
    """Return the length of the longest of a FASTQ file's first reads."""
    packed = read_beginning(url, BEGINNING_BYTES, retries=retries)
    try:
        text = zlib.decompressobj(wbits=31).decompress(packed, 1 << 20)
    except zlib.error:
        text = b""
    lines = text.split(b"\n")
    reads = [
        lines[i + 1]
        for i in range(0, len(lines) - 2, 4)  # the last line may be cut
        if lines[i].startswith(b"@")
    ]
    if not reads:
        message = f"{url} does not begin as gzipped FASTQ. See what the archive serves there."
        raise AcquireError(message)
    return max(map(len, reads[:100]))
