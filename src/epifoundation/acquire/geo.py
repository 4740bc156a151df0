"""Accessions of GEO and SRA: series, sample, experiment or run to runs, and runs to files."""

import re
from collections.abc import Mapping

from epifoundation.acquire.content import FirstReads
from epifoundation.acquire.hosts import Hosts
from epifoundation.acquire.locator import runs_at_ncbi
from epifoundation.acquire.roles import ReadFile
from epifoundation.acquire.routes import OWN_FILES, files_of_run
from epifoundation.acquire.web import get_json, get_text
from epifoundation.errors import AcquireError

SRA_ACCESSION = re.compile(r"[SED]R[XR]\d+")
CONTROLLED = re.compile(r"EGA[SDNFCRX]\d+|phs\d+.*|JGA[SD]\d+")
STRATEGY = {"gex": "RNA-Seq", "atac": "ATAC-seq"}
HUMAN = "Homo sapiens"
Run = Mapping[str, str]


def files_at_geo(
    accession: str, library: str, hosts: Hosts, first: FirstReads, *, retries: int
) -> list[ReadFile]:
    """Return the files of a GEO series (GSE) or sample (GSM), or of an SRA experiment or run.

    Of a series the one sample of the library is taken; where it has several, the error lists them.
    """
    if CONTROLLED.fullmatch(accession):
        message = (
            f"{accession} is under controlled access: its files are given only to who is granted"
            f" them by its data access committee. {OWN_FILES}"
        )
        raise AcquireError(message)
    runs = [
        run
        for experiment in _experiments(accession, library, hosts, retries)
        for run in _runs(accession, experiment, hosts, retries)
    ]
    species = {run.get("scientific_name") or HUMAN for run in runs}
    if species != {HUMAN}:
        _refuse_species(accession, species)
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
        for file in files_of_run(run, library, hosts, first, retries=retries)
    ]


def _refuse_species(accession: str, species: set[str]) -> None:
    message = (
        f"{accession} is of {', '.join(sorted(species))}, not of {HUMAN}: the genome, the profiles"
        " and the model are human. Take the sample off the sheet."
    )
    raise AcquireError(message)


def _experiments(accession: str, library: str, hosts: Hosts, retries: int) -> list[str]:
    if SRA_ACCESSION.fullmatch(accession):
        return [accession]
    if accession.startswith("GSE"):
        accession = _sample_of_series(accession, library, hosts, retries)
    url = hosts.geo_sample(accession)
    record = get_text(url, retries=retries) or ""
    if f"^SAMPLE = {accession}" not in record:
        message = f"GEO does not show a sample {accession} ({url}). {_why_not_shown(record)}"
        raise AcquireError(message)
    species = set(_values(record, "organism_ch1"))
    if species - {HUMAN}:
        _refuse_species(accession, species)
    relations = [
        m[1] for v in _values(record, "relation") if (m := re.search(r"SRA: .*(SRX\d+)", v))
    ]
    if not relations:
        message = (
            f"{accession}: its GEO record names no SRA experiment, so its reads are not public"
            f" ({url}). {OWN_FILES}"
        )
        raise AcquireError(message)
    return list(dict.fromkeys(relations))


def _why_not_shown(record: str) -> str:
    """Say why GEO shows no record, as far as its answer tells."""
    if private := re.search(r"is currently private[^.<\n]*", record):
        return f"It says: it {private[0].strip()}. Wait for it, or take the sample off the sheet."
    if gone := re.search(r"was (deleted|withdrawn|removed)[^.<\n]*", record):
        return f"It says: it {gone[0].strip()}. Take the sample off the sheet."
    return "Correct it in the sample sheet, or take the sample off."


def _values(record: str, name: str) -> list[str]:
    found = re.findall(rf"^!Sample_{name} = (.*)$", record, flags=re.MULTILINE)
    return [value.strip() for value in found]


def _sample_of_series(series: str, library: str, hosts: Hosts, retries: int) -> str:
    url = hosts.geo_samples(series)
    text = get_text(url, retries=retries) or ""
    found = re.findall(r"^\^SAMPLE = (GSM\d+)(.*?)(?=^\^|\Z)", text, re.MULTILINE | re.DOTALL)
    records: dict[str, str] = dict(found)
    if not records:
        message = f"GEO does not show a series {series} ({url}). {_why_not_shown(text)}"
        raise AcquireError(message)
    fitting = [
        name
        for name, body in records.items()
        if STRATEGY[library] in _values(body, "library_strategy")
    ]
    if len(fitting) != 1:
        listed = "; ".join(
            f"{name} {' '.join(_values(records[name], 'title'))!r}" for name in fitting[:8]
        )
        column = "rna" if library == "gex" else "atac"
        message = (
            f"{series} has {len(fitting)} samples of {STRATEGY[library]}, expected one"
            f" ({listed or f'it has {len(records)} of other kinds'}). Name the sample (GSM) in"
            f" column {column} of the sample sheet."
        )
        raise AcquireError(message)
    return fitting[0]


def _runs(accession: str, experiment: str, hosts: Hosts, retries: int) -> list[Run]:
    url = hosts.ena_runs(experiment)
    runs = get_json(url, retries=retries) or runs_at_ncbi(experiment, hosts, retries=retries)
    if not runs:
        message = (
            f"{accession}: neither ENA nor NCBI lists a run of {experiment} ({url}). It was"
            " withdrawn, is under controlled access, or is too new; see its SRA page."
        )
        raise AcquireError(message)
    return list(runs)
