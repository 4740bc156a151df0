"""Accessions of ENCODE: an experiment, or the multiomics series that holds one of each kind."""

import logging
from collections.abc import Mapping
from typing import Any

from epifoundation.acquire.hosts import Hosts
from epifoundation.acquire.roles import ReadFile
from epifoundation.acquire.web import get_json
from epifoundation.errors import AcquireError

logger = logging.getLogger(__name__)

Record = Mapping[str, Any]
BARCODE_ELEMENTS = {"cell barcode", "barcode", "UMI"}  # of `read_structure`
HUMAN = "Homo sapiens"
ASSAY_WORD = {"gex": "RNA", "atac": "ATAC"}  # in assay_term_name; a multiome has no term itself


def files_at_encode(accession: str, library: str, hosts: Hosts, *, retries: int) -> list[ReadFile]:
    """Return the released raw FASTQ files of one library, with the roles ENCODE declares.

    Of several replicates the first is taken, since each is a GEM well of its own whose barcodes
    must not be mixed with another's. `accession` is an experiment or a series of experiments.
    """
    found = _get(accession, "experiments", hosts, retries)
    experiment = _component(found, library, hosts, retries) if _is_series(found) else found
    for record in (found, experiment):
        _check_record(record)
    assay = str(experiment.get("assay_term_name", ""))
    if ASSAY_WORD[library] not in assay:
        message = (
            f"{experiment['accession']} is {assay or 'no assay'!r} at ENCODE, not an"
            f" {ASSAY_WORD[library]} experiment. Are rna and atac exchanged in the sample sheet?"
        )
        raise AcquireError(message)
    files = [
        item if isinstance(item, Mapping) else _get(_name(str(item)), "files", hosts, retries)
        for item in experiment.get("files", [])
    ]
    raw = _first_replicate([f for f in files if _is_raw_fastq(f)], str(experiment["accession"]))
    if not raw:
        message = (
            f"{experiment['accession']} has no released FASTQ file at ENCODE ({len(files)} files in"
            " all). See its page there; it may be restricted or archived."
        )
        raise AcquireError(message)
    lanes = _lanes(raw)
    return [
        ReadFile(
            name=str(f["accession"]),
            url=hosts.encode + str(f["href"]),
            bytes=int(f["file_size"]),
            md5=str(f["md5sum"]),
            run=str(experiment["accession"]),
            lane=lanes[str(f["accession"])],
            read=_declared(f, library),
            read_length=int(f["read_length"]) if f.get("read_length") else None,
        )
        for f in raw
    ]


def _get(accession: str, kind: str, hosts: Hosts, retries: int) -> Record:
    url = hosts.encode_object(kind, accession)
    record = get_json(url, retries=retries)
    if not isinstance(record, Mapping) or record.get("status") == "error":
        message = f"ENCODE does not know {accession} ({url}). Correct it in the sample sheet."
        raise AcquireError(message)
    return record


def _check_record(record: Record) -> None:
    """Raise AcquireError for what was withdrawn, and for what is not human."""
    accession, status = record.get("accession"), record.get("status") or "released"
    if status != "released":
        message = (
            f"{accession} is {status} at ENCODE, not released: its keepers no longer stand by it."
            " See its page for what replaces it."
        )
        raise AcquireError(message)
    species = _species(record)
    if species - {HUMAN}:
        message = (
            f"{accession} is of {', '.join(sorted(species))}, not of {HUMAN}: the genome, the"
            " profiles and the model are human. Take the sample off the sheet."
        )
        raise AcquireError(message)


def _species(record: Record) -> set[str]:
    """Return the species that a record names, of itself and of its replicates' biosamples."""
    organisms = record.get("organism") or []
    found = list(organisms) if isinstance(organisms, list) else [organisms]
    for replicate in record.get("replicates") or []:
        if isinstance(replicate, Mapping):
            library = replicate.get("library")
            sample = library.get("biosample") if isinstance(library, Mapping) else None
            found.append(sample.get("organism") if isinstance(sample, Mapping) else None)
    return {
        str(item["scientific_name"])
        for item in found
        if isinstance(item, Mapping) and item.get("scientific_name")
    }


def _is_series(record: Record) -> bool:
    return bool(record.get("related_datasets"))


def _component(series: Record, library: str, hosts: Hosts, retries: int) -> Record:
    parts = [
        item if isinstance(item, Mapping) else _get(_name(str(item)), "experiments", hosts, retries)
        for item in series["related_datasets"]
    ]
    fitting = [p for p in parts if ASSAY_WORD[library] in str(p.get("assay_term_name", ""))]
    if len(fitting) != 1:
        listed = ", ".join(f"{p.get('accession')} {p.get('assay_term_name')}" for p in parts)
        column = "rna" if library == "gex" else "atac"
        message = (
            f"{series.get('accession')}: {len(fitting)} of its experiments are"
            f" {ASSAY_WORD[library]}, expected one (it has: {listed}). Name the experiment in"
            f" column {column} of the sample sheet."
        )
        raise AcquireError(message)
    return _get(str(fitting[0]["accession"]), "experiments", hosts, retries)


def _is_raw_fastq(file: Record) -> bool:
    return (
        file.get("file_format") == "fastq"
        and file.get("status") == "released"
        and file.get("output_type") in ("reads", "index reads")
        and not file.get("derived_from")
        and not file.get("no_file_available")
        and not file.get("restricted")
    )


def _first_replicate(files: list[Record], experiment: str) -> list[Record]:
    replicates = sorted({_replicate(f) for f in files})
    if len(replicates) > 1:
        logger.warning(
            "%s has %d replicates; taking %s", experiment, len(replicates), replicates[0]
        )
    return [f for f in files if _replicate(f) == replicates[0]]


def _replicate(file: Record) -> tuple[int, int]:
    replicate = file.get("replicate")
    if not isinstance(replicate, Mapping):
        return (1, 1)
    return (
        int(replicate.get("biological_replicate_number", 1)),
        int(replicate.get("technical_replicate_number", 1)),
    )


def _declared(file: Record, library: str) -> str:
    """Return the read in Cell Ranger ARC's words; where a structure is told, by what it holds."""
    elements = {part.get("sequence_element") for part in file.get("read_structure") or []}
    if elements & BARCODE_ELEMENTS:
        return "R2" if library == "atac" else "R1"
    if elements and library == "gex" and file["output_type"] == "reads":
        return "R2"
    if file["output_type"] == "index reads":
        return "R2" if library == "atac" else "I1"
    second = "R3" if library == "atac" else "R2"
    return {"1": "R1", "2": second}.get(str(file.get("paired_end", "")), "")


def _lanes(files: list[Record]) -> dict[str, str]:
    """Return, for each file accession, a name of the set of files sequenced together.

    Sets follow the links between files (`paired_with`, `index_of`); their names sort by flow cell,
    lane and accession.
    """
    by_name = {str(f["accession"]): f for f in files}
    group = {name: {name} for name in by_name}
    for name, file in by_name.items():
        linked = [file.get("paired_with"), *(file.get("index_of") or [])]
        for other in {_name(_id(item)) for item in linked if item} & set(by_name):
            together = group[name] | group[other]
            for member in together:
                group[member] = together
    order = {n: (*_flowcell(by_name[min(group[n])]), min(group[n])) for n in by_name}
    return {name: " ".join(order[name]) for name in by_name}


def _flowcell(file: Record) -> tuple[str, str]:
    details = file.get("flowcell_details") or [{}]
    return str(details[0].get("flowcell", "")), str(details[0].get("lane", ""))


def _id(item: object) -> str:
    return str(item.get("@id", "")) if isinstance(item, Mapping) else str(item)


def _name(identifier: str) -> str:
    """Return the accession in an `@id` such as /files/ENCFF000AAA/."""
    return identifier.strip("/").rpartition("/")[2]
