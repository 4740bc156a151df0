"""Accessions of one sample to the list of files to fetch, with the role of each."""

import logging
import re
from dataclasses import dataclass

import pandas as pd

from epifoundation.acquire.catalogue import files_in_catalogue
from epifoundation.acquire.encode import files_at_encode
from epifoundation.acquire.geo import OWN_FILES, files_at_geo
from epifoundation.acquire.hosts import Hosts
from epifoundation.acquire.roles import ReadFile, assign_reads
from epifoundation.config import AcquireConfig
from epifoundation.contracts import MANIFEST
from epifoundation.errors import AcquireError
from epifoundation.samples import Sample

logger = logging.getLogger(__name__)
LANE = re.compile(r"L\d{3}")


@dataclass(frozen=True)
class Accessions:
    """What of a row of the sample sheet decides which files are fetched."""

    sample: str
    source: str
    rna: str
    atac: str


def resolve(
    sample: Accessions | Sample, settings: AcquireConfig, hosts: Hosts | None = None
) -> pd.DataFrame:
    """Return the MANIFEST of a sample: every FASTQ file with address, size, MD5 and role.

    Rows are ordered by library (GEX, ATAC), lane and read. The column `origin` beyond the contract
    names the run or experiment that holds the file. `hosts` defaults to the public archives.
    """
    hosts = hosts or Hosts.from_environment()
    rows: list[dict[str, object]] = []
    for library, accession in (("gex", sample.rna), ("atac", sample.atac)):
        try:
            files = _files(accession, library, sample.source, settings, hosts)
            rows += _rows(files, library)
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
    accession: str, library: str, source: str, settings: AcquireConfig, hosts: Hosts
) -> list[ReadFile]:
    if source == "catalogue":
        if settings.catalogue is None:
            message = "source `catalogue` needs acquire.catalogue in the configuration"
            raise AcquireError(message)
        return files_in_catalogue(accession, library, settings.catalogue, retries=settings.retries)
    if source == "ENCODE":
        return files_at_encode(accession, library, hosts, retries=settings.retries)
    if source == "GEO":
        return files_at_geo(accession, library, hosts, retries=settings.retries)
    message = f"source is {source!r}; only catalogue, ENCODE and GEO hold accessions"
    raise AcquireError(message)


def _rows(files: list[ReadFile], library: str) -> list[dict[str, object]]:
    lanes = list(dict.fromkeys(f.lane for f in files))
    keep_names = all(LANE.fullmatch(lane) for lane in lanes)
    rows: list[dict[str, object]] = []
    for number, lane in enumerate(sorted(lanes), start=1):
        name = lane if keep_names else f"L{number:03d}"
        members = [f for f in files if f.lane == lane]
        run = members[0].run
        for read, file in assign_reads(members, library, run=run, hint=OWN_FILES).items():
            rows.append(
                {
                    "file": f"{library}_{name}_{read}.fastq.gz",
                    "url": file.url,
                    "bytes": file.bytes,
                    "md5": file.md5,
                    "library": library,
                    "lane": name,
                    "read": read,
                    "origin": file.run,
                }
            )
    return rows
