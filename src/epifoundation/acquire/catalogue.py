"""Accessions of a plain file server: a folder with FASTQ files and an `index.tsv`."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urljoin

from epifoundation.acquire.roles import ReadFile
from epifoundation.acquire.transfer import fetch, local_path
from epifoundation.contracts import Table
from epifoundation.errors import AcquireError, ContractError

INDEX = Table(
    made_by="whoever keeps the catalogue",
    key=("accession", "file"),
    dtypes={
        "accession": "str",
        "file": "str",
        "url": "str",  # absolute, or relative to index.tsv
        "bytes": "int64",
        "md5": "str",
        "library": "str",
        "lane": "str",
        "read": "str",
        "read_length": "float64",
    },
    nullable=("lane", "read", "read_length"),
    ranges={"bytes": (1, 2**50), "read_length": (1, 1000)},
    allowed={"library": ("gex", "atac"), "read": ("R1", "R2", "R3", "I1", "I2")},
)


def files_in_catalogue(
    accession: str, library: str, catalogue: str, *, retries: int
) -> list[ReadFile]:
    """Return the files that `<catalogue>/index.tsv` lists for an accession and library."""
    base = _base(catalogue)
    with TemporaryDirectory() as folder:
        copy = fetch(base + "index.tsv", Path(folder) / "index.tsv", retries=retries)
        try:
            index = INDEX.read(copy)
        except ContractError as error:
            message = str(error).replace(str(copy), base + "index.tsv")
            raise AcquireError(message) from None
    here = index[index["accession"] == accession]
    rows = here[here["library"] == library].to_dict("records")
    if not rows:
        why = f"only {here['library'].iloc[0]} files" if len(here) else "no such accession"
        example = ", ".join(index["accession"].drop_duplicates().head(3))
        message = (
            f"{accession}: {base}index.tsv lists {why} for it (wanted: {library}; it has e.g."
            f" {example}). Correct the accession in the sample sheet, or the index."
        )
        raise AcquireError(message)
    return [
        ReadFile(
            name=row["file"],
            url=_url_in(base, row["url"]),
            bytes=int(row["bytes"]),
            md5=row["md5"],
            run=accession,
            lane=row["lane"] or re.sub(r"_[RI]\d(_001)?\.fastq\.gz$", "", row["file"]),
            read=row["read"],
            read_length=int(row["read_length"]) if row["read_length"] > 0 else None,
        )
        for row in rows
    ]


def _base(catalogue: str) -> str:
    path = local_path(catalogue)
    address = path.resolve().as_uri() if path is not None else catalogue
    return address.rstrip("/") + "/"


def _url_in(base: str, url: str) -> str:
    """Return the absolute address; a server's index may not point at this machine's files."""
    absolute = urljoin(base, url)
    if local_path(absolute) is not None and local_path(base) is None:
        message = f"{base}index.tsv points at a local file ({url}), which a server must not."
        raise AcquireError(message)
    return absolute
