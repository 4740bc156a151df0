"""Files named by their addresses, in the sample sheet or the configuration."""

from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urldefrag, urlsplit

from epifoundation.acquire.hosts import as_https
from epifoundation.acquire.locator import BAM
from epifoundation.acquire.roles import ReadFile
from epifoundation.acquire.routes import ENA_NUMBER, ILLUMINA_READ, named
from epifoundation.acquire.transfer import fetch, local_path
from epifoundation.acquire.web import size_of
from epifoundation.errors import AcquireError

CHECKSUMS = {"md5": 32, "sha256": 64}


def files_at_addresses(text: str, *, retries: int) -> list[ReadFile]:
    """Return the files of addresses with spaces between, each perhaps with `#md5=…` or `#sha256=…`.

    FASTQ (`.fastq.gz`), a Cell Ranger BAM (`.bam`) or an archived run (`.sra`). Without a checksum
    a file is held to the size its server tells, and FASTQ to gzip's own checks.
    """
    return [_file(address, retries) for address in text.split()]


def fetch_named(url: str, target: Path | str, *, md5: str | None = None, retries: int = 5) -> Path:
    """Put the file at an address, perhaps with its checksum, at `target`, as `fetch` does.

    A checksum given as `md5` goes before that of the address. The server is asked for the size, by
    which a later call goes on from what came before this one was stopped, if the server also says
    that the file is still the same (ETag), or there is a checksum.
    """
    address, digest = with_checksum(url)
    n_bytes = None if local_path(address) else size_of(as_https(address), retries=retries)
    return fetch(address, target, md5=md5 or digest or None, bytes=n_bytes, retries=retries)


def with_checksum(address: str) -> tuple[str, str]:
    """Return an address and the checksum behind its `#`: MD5, `sha256:` and SHA256, or nothing."""
    url, fragment = urldefrag(address)
    kind, _, digest = fragment.partition("=")
    if fragment and len(digest) != CHECKSUMS.get(kind):
        message = f"{address}: after # stands md5=<32 digits> or sha256=<64 digits>, nothing else"
        raise AcquireError(message)
    return url, f"sha256:{digest}" if kind == "sha256" else digest


def _file(address: str, retries: int) -> ReadFile:
    url, digest = with_checksum(address)
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    path = local_path(url)
    if path is not None and not path.is_file():
        message = f"{url} does not exist or is no file. Correct it in the sample sheet."
        raise AcquireError(message)
    size = path.stat().st_size if path else size_of(as_https(url), retries=retries)
    if not size:
        message = (
            f"{url}: the server does not say how large it is, or it is empty, so that it could not"
            " be verified. Fetch it yourself and name its path."
        )
        raise AcquireError(message)
    bare = ILLUMINA_READ.sub("", ENA_NUMBER.sub("", name))
    file = ReadFile(name, url, size, digest, run=bare, lane=bare)
    if BAM.search(name) or name.endswith(".sra"):
        return replace(file, route="bam" if BAM.search(name) else "sra")
    return named(file)
