"""NCBI's word on a run: the table of runs, and where the run's own and original files are."""

import csv
import io
import logging
import re
from collections.abc import Mapping
from typing import Any

from epifoundation.acquire.hosts import Hosts
from epifoundation.acquire.roles import ReadFile
from epifoundation.acquire.web import get_json, get_text
from epifoundation.errors import AcquireError

logger = logging.getLogger(__name__)

REFUSED = frozenset({401, 403, 451})
PREFETCH = "prefetch:"  # scheme of a run that only `prefetch` gets
BAM = re.compile(r"\.bam(\.\d+)?$")
FASTQ = re.compile(r"\.f(ast)?q\.gz(\.\d+)?$")


def runs_at_ncbi(accession: str, hosts: Hosts, *, retries: int) -> list[dict[str, str]]:
    """Return the runs of an accession by NCBI's table, under ENA's names; none: unknown there."""
    found = get_json(hosts.sra_search(accession), retries=retries) or {}
    numbers = (found.get("esearchresult") or {}).get("idlist") or []
    if not numbers:
        return []
    table = get_text(hosts.sra_runs(numbers), retries=retries) or ""
    return [
        {
            "run_accession": row["Run"],
            "experiment_accession": row.get("Experiment") or "",
            "library_strategy": row.get("LibraryStrategy") or "",
            "scientific_name": row.get("ScientificName") or "",
        }
        for row in csv.DictReader(io.StringIO(table.strip()))
        if row.get("Run") and accession in (row["Run"], row.get("Experiment"), row.get("SRAStudy"))
    ]


def located_files(run: str, hosts: Hosts, *, retries: int) -> list[ReadFile]:
    """Return what the SRA Data Locator lists of a run: the archived run, and original files.

    Only what it gives a size and MD5 of. An archived run that no open address holds gets the
    address `prefetch:<run>`; an original that none holds is left out, and so is SRA Lite, whose
    base qualities are made up.
    """
    answer = get_json(hosts.located(run), retries=retries) or {}
    files: list[ReadFile] = []
    for result in answer.get("result") or []:
        status = int(result.get("status") or 200)
        if status in REFUSED:
            message = (
                f"{run} is under controlled access at NCBI ({result.get('msg') or status}). Ask its"
                " data access committee, and list the files you get in a catalogue of your own"
                " (config/README.md)."
            )
            raise AcquireError(message)
        if status != 200:
            logger.info("%s at the data locator: %s %s", run, status, result.get("msg"))
            continue
        files += [file for item in result.get("files") or [] if (file := _file(item, run))]
    return files


def _file(item: Mapping[str, Any], run: str) -> ReadFile | None:
    name, kind = str(item.get("name") or ""), str(item.get("type") or "")
    open_links = [
        str(place["link"])
        for place in item.get("locations") or []
        if place.get("link")
        and not place.get("payRequired")
        and not place.get("rehydrationRequired")
    ]
    archived = (
        kind == "sra" and "lite" not in name and not BAM.search(name) and not FASTQ.search(name)
    )
    if not (item.get("size") and item.get("md5")) or not (open_links or archived):
        return None
    return ReadFile(
        name=name or run,
        url=open_links[0] if open_links else PREFETCH + run,
        bytes=int(item["size"]),
        md5=str(item["md5"]),
        run=run,
        lane=run,
        route="sra" if archived else "bam" if BAM.search(name) else "fastq",
    )
