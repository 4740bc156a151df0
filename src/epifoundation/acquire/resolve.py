"""Accessions of one sample to the list of files to fetch, with the role of each."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from epifoundation.acquire.addresses import files_at_addresses
from epifoundation.acquire.catalogue import files_in_catalogue
from epifoundation.acquire.content import BarcodeList, FirstReads, check_pairing
from epifoundation.acquire.encode import files_at_encode
from epifoundation.acquire.geo import files_at_geo
from epifoundation.acquire.hosts import Hosts
from epifoundation.acquire.roles import ReadFile, assign_by_content, lanes_in_order
from epifoundation.acquire.routes import OWN_FILES
from epifoundation.config import AcquireConfig
from epifoundation.contracts import MANIFEST
from epifoundation.errors import AcquireError
from epifoundation.samples import SOURCES, Sample

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Accessions:
    """What of a row of the sample sheet decides which files are fetched."""

    sample: str
    source: str
    rna: str
    atac: str


def resolve(
    sample: Accessions | Sample,
    settings: AcquireConfig,
    hosts: Hosts | None = None,
    *,
    lists: Mapping[str, BarcodeList] | None = None,
) -> pd.DataFrame:
    """Return the MANIFEST of a sample: every file to fetch, with address, size, checksum and role.

    Rows are ordered by library (GEX, ATAC), lane and read; files of which FASTQ is still to be made
    have no read. The column `origin` beyond the contract names the run or experiment that holds the
    file. `hosts` defaults to the public archives; `lists` are the allowed barcodes of each library,
    without which what reads begin with is not looked at.
    """
    hosts = hosts or Hosts.from_environment()
    first = FirstReads(lists, settings.retries)
    rows: list[dict[str, object]] = []
    try:
        for library, accession in (("gex", sample.rna), ("atac", sample.atac)):
            files = _files(accession, library, sample.source, settings, hosts, first)
            rows += _rows(files, library, first)
        if lists is not None:
            _check_pairing(rows, first, len(lists["gex"].line), f"{sample.rna} and {sample.atac}")
    except AcquireError as error:
        message = f"sample {sample.sample}: {error}"
        raise AcquireError(message) from None
    manifest = pd.DataFrame(rows)
    MANIFEST.check(manifest, f"the manifest of {sample.sample}")
    logger.info(
        "%s: %d files, %.2f GB", sample.sample, len(manifest), manifest["bytes"].sum() / 1e9
    )
    return manifest


def _files(
    accession: str,
    library: str,
    source: str,
    settings: AcquireConfig,
    hosts: Hosts,
    first: FirstReads,
) -> list[ReadFile]:
    retries = settings.retries
    if source == "catalogue":
        if settings.catalogue is None:
            message = "source `catalogue` needs acquire.catalogue in the configuration"
            raise AcquireError(message)
        return files_in_catalogue(accession, library, settings.catalogue, retries=retries)
    if source == "ENCODE":
        return files_at_encode(accession, library, hosts, retries=retries)
    if source in ("GEO", "SRA"):
        return files_at_geo(accession, library, hosts, first, retries=retries)
    if source == "URL":
        files = files_at_addresses(accession, retries=retries)
        return [
            replace(f, read_length=first.length(f.url)) if f.route == "fastq" else f for f in files
        ]
    message = f"source is {source!r}; only {', '.join(filter(None, SOURCES))} hold accessions"
    raise AcquireError(message)


def _rows(files: list[ReadFile], library: str, first: FirstReads) -> list[dict[str, object]]:
    rows = [_row(f, f"{library}_{_safe(f)}", f.lane, "") for f in files if f.route != "fastq"]
    for row in rows:
        row["library"] = library
    fastq = [f for f in files if f.route == "fastq"]
    for name, members in lanes_in_order(fastq):
        reads = assign_by_content(members, library, first, run=members[0].run, hint=OWN_FILES)
        for read, file in reads.items():
            rows.append(_row(file, f"{library}_{name}_{read}.fastq.gz", name, read))
            rows[-1]["library"] = library
    return rows


def _safe(file: ReadFile) -> str:
    """Return a name on disk of a file that FASTQ is made of."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", file.name.partition(".")[0]) + f".{file.route}"


def _row(file: ReadFile, name: str, lane: str, read: str) -> dict[str, object]:
    return {
        "file": name,
        "url": file.url,
        "bytes": file.bytes,
        "md5": file.md5,
        "library": "",
        "lane": lane,
        "read": read,
        "route": file.route,
        "origin": file.run,
    }


def _check_pairing(
    rows: list[dict[str, object]], first: FirstReads, n_barcodes: int, names: str
) -> None:
    """Hold the barcodes of both libraries' first reads against each other, where both are FASTQ."""
    url = {(row["library"], row["read"]): str(row["url"]) for row in reversed(rows)}
    places = [("gex", "R1"), ("atac", "R2")]
    if not all(place in url for place in places):
        return
    gex, atac = (first.barcodes(url[place], place[0]) for place in places)
    if gex is not None and atac is not None:
        check_pairing(gex, atac, n_barcodes, names=names)
