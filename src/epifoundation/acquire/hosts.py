"""Every address the acquisition knows, once; each can be changed by an environment variable."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import Self
from urllib.parse import quote, urlencode, urlsplit

PREFIX = "EPIFOUNDATION_"
# Requests a second and transfers at once that a host is asked for, by all jobs of this machine.
# NCBI allows 3 requests a second without a key, ENCODE fewer than 10.
LIMITS = {
    "eutils.ncbi.nlm.nih.gov": (2.5, 3),
    "locate.ncbi.nlm.nih.gov": (2.5, 3),
    "www.ncbi.nlm.nih.gov": (2.5, 3),
    "www.encodeproject.org": (8.0, 8),
}
OTHER_LIMITS = (20.0, 8)
ENA_FIELDS = (
    "run_accession",
    "experiment_accession",
    "library_strategy",
    "scientific_name",
    "fastq_ftp",
    "fastq_md5",
    "fastq_bytes",
    "submitted_ftp",
    "submitted_md5",
    "submitted_bytes",
    "submitted_format",
)


@dataclass(frozen=True)
class Hosts:
    """Base addresses without a trailing slash.

    A field `encode` is overridden by the environment variable `EPIFOUNDATION_ENCODE`, for a mirror
    or a test server.
    """

    encode: str = "https://www.encodeproject.org"
    ena: str = "https://www.ebi.ac.uk/ena/portal/api"
    ena_files: str = "https://"  # ENA lists its files without a scheme
    geo: str = "https://www.ncbi.nlm.nih.gov/geo"
    eutils: str = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"
    locator: str = "https://locate.ncbi.nlm.nih.gov/sdl/2"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the addresses, with those that `environment` names."""
        given = {f.name: environment.get(PREFIX + f.name.upper()) for f in fields(cls)}
        return cls(**{name: value for name, value in given.items() if value})

    def encode_object(self, kind: str, accession: str) -> str:
        """Return the address of an ENCODE object: `kind` is `experiments` or `files`."""
        return f"{self.encode}/{kind}/{quote(accession)}/?format=json"

    def ena_runs(self, accession: str) -> str:
        """Return the address of ENA's table of runs of a study, experiment, sample or run."""
        query = urlencode(
            {
                "accession": accession,
                "result": "read_run",
                "fields": ",".join(ENA_FIELDS),
                "format": "json",
            },
            safe=",",
        )
        return f"{self.ena}/filereport?{query}"

    def geo_sample(self, accession: str) -> str:
        """Return the address of a GEO record as SOFT text."""
        query = urlencode({"targ": "self", "acc": accession, "form": "text", "view": "full"})
        return f"{self.geo}/query/acc.cgi?{query}"

    def geo_samples(self, series: str) -> str:
        """Return the address of the records of all samples of a GEO series, as SOFT text."""
        query = urlencode({"targ": "gsm", "acc": series, "form": "text", "view": "brief"})
        return f"{self.geo}/query/acc.cgi?{query}"

    def sra_search(self, accession: str) -> str:
        """Return the address of NCBI's numbers of the SRA records of an accession."""
        query = urlencode({"db": "sra", "term": accession, "retmode": "json"})
        return f"{self.eutils}/esearch.fcgi?{query}"

    def sra_runs(self, numbers: Sequence[str]) -> str:
        """Return the address of NCBI's table of runs (CSV) of SRA records."""
        query = urlencode(
            {"db": "sra", "id": ",".join(numbers), "rettype": "runinfo", "retmode": "text"},
            safe=",",
        )
        return f"{self.eutils}/efetch.fcgi?{query}"

    def located(self, run: str) -> str:
        """Return the address at which the SRA Data Locator tells where a run's files are."""
        query = urlencode({"acc": run, "accept-alternate-locations": "yes"})
        return f"{self.locator}/retrieve?{query}"


def as_https(url: str) -> str:
    """Return an ftp:// address as https://, which the archives serve at the same path."""
    scheme, separator, rest = url.partition("://")
    return f"https://{rest}" if separator and scheme.lower() == "ftp" else url


def place_of(location: str | None, folder: str) -> str | list[str]:
    """Return the file that a configured location is read from: itself, or its copy in `folder`.

    What Snakemake takes as an input: no file for None.
    """
    if location is None:
        return []
    parts = urlsplit(location)
    return f"{folder}/{PurePosixPath(parts.path).name}" if parts.scheme else location
