"""A file from a server or a disk to its place: resumed, repeated where that helps, verified."""

import errno
import gzip
import logging
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests

from epifoundation.acquire.hosts import as_https
from epifoundation.acquire.manners import transfer_from
from epifoundation.acquire.web import TemporaryError, check_status, get, repeat
from epifoundation.errors import AcquireError
from epifoundation.files import file_hash, progress_line

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 18
MB = 1_000_000
REPORT_SECONDS = 10.0
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
HTML_NAMES = (".html", ".htm")
GZIP_MAGIC = b"\x1f\x8b"
Piece = bytes
Counter = Callable[[int], None]  # told of bytes received; of negative ones where discarded


@dataclass(frozen=True)
class _Expected:
    """What the file must be; None is not checked."""

    name: str
    checksum: str | None
    bytes: int | None

    def mistake(self, path: Path) -> str | None:
        """Say what is wrong with the whole file at `path`, cheapest check first."""
        size = path.stat().st_size
        with path.open("rb") as handle:
            beginning = handle.read(512)
        if _is_html(beginning) and not self.name.endswith(HTML_NAMES):
            return f"a web page came instead of the file ({size:,} bytes of HTML)"
        if self.bytes is not None and size != self.bytes:
            return f"it has {size:,} bytes, expected {self.bytes:,}"
        if self.name.endswith(".gz") and not beginning.startswith(GZIP_MAGIC):
            return f"it is not gzip (begins with {beginning[:8]!r})"
        if self.checksum is not None:
            algorithm, _, wanted = self.checksum.lower().rpartition(":")
            found = file_hash(path, algorithm or "md5")
            if found != wanted:
                return f"its {(algorithm or 'md5').upper()} is {found}, expected {wanted}"
        elif self.bytes is not None and self.name.endswith(".gz"):
            return _gzip_mistake(path)
        return None


class _WrongFileError(Exception):
    """A whole file came, and it is not the right one."""


def fetch(
    url: str,
    target: Path | str,
    *,
    md5: str | None = None,
    bytes: int | None = None,
    retries: int = 5,
    wait_seconds: float = 1.0,
    counter: Counter | None = None,
) -> Path:
    """Put the file at `url` at `target`, whole and verified, or raise AcquireError.

    A file that is there and right is not fetched again.

    Parameters
    ----------
    url
        http(s)://, ftp:// (fetched over https), file:// or a local path.
    md5, bytes
        What the file must be; None is not checked. `sha256:` before the checksum says that it is
        one. What a `.gz` name holds must be gzip (and whole, where `bytes` but no checksum is
        given), and a web page is never taken for a file.
    retries
        Further attempts after a broken transfer, or an answer of 429 or 5xx. They go on where the
        transfer broke; with `md5` given a later call does so too, from `<target>.part`.
    wait_seconds
        Wait before the second attempt, doubled for each further one; or what the server asks for.
    counter
        Told of the bytes received; of negative ones where what was there is discarded.
    """
    target = Path(target)
    count = counter or (lambda _: None)
    expected = _Expected(target.name, md5, bytes)
    if target.is_file():
        mistake = expected.mistake(target)
        if mistake is None:
            logger.info("%s is there already and right", target.name)
            return target
        logger.info("%s is there, but %s", target.name, mistake)
        count(-_size(target))
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    if md5 is None and not (bytes is not None and _tag_file(part).exists()):
        part.unlink(missing_ok=True)  # nothing could tell whether it still fits what is served
    source = local_path(url)
    for last in (False, True):
        try:
            with _room_for(target, part):
                if source is not None:
                    _copy(source, part, count)
                else:
                    _download(as_https(url), part, expected, retries, wait_seconds, count)
            if mistake := expected.mistake(part):
                raise _WrongFileError(mistake)
            break
        except _WrongFileError as wrong:
            count(-_size(part))
            part.unlink()
            _tag_file(part).unlink(missing_ok=True)
            if last or source is not None:
                raise AcquireError(_explain(url, target, str(wrong))) from None
            logger.warning("%s: %s; fetching it once more from its start", target.name, wrong)
    part.replace(target)
    _tag_file(part).unlink(missing_ok=True)
    return target


@contextmanager
def _room_for(target: Path, part: Path) -> Iterator[None]:
    """Say of a disk that is full, or of a limit, which file did not fit; what came is kept."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        message = (
            f"{target}: no room for more of it after {_size(part):,} bytes ({error.strerror})."
            " Free space, or set results_dir to a larger disk, and run again; what has come is"
            " kept."
        )
        raise AcquireError(message) from None


def read_beginning(url: str, n_bytes: int, *, retries: int = 5, wait_seconds: float = 1.0) -> bytes:
    """Return the first bytes of a file on a server or a disk (all, where it is shorter)."""
    source = local_path(url)
    if source is not None:
        with _existing(source).open("rb") as handle:
            return handle.read(n_bytes)

    def attempt() -> bytes:
        with get(as_https(url), {"Range": f"bytes=0-{n_bytes - 1}"}) as response:
            check_status(response)
            return bytes(response.raw.read(n_bytes, decode_content=False))

    return repeat(attempt, url, retries=retries, wait_seconds=wait_seconds)


def local_path(location: str) -> Path | None:
    """Return the path that a location means on this machine; None for one elsewhere."""
    if "://" not in location:
        return Path(location)
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme.lower() == "file" else None


def _existing(source: Path) -> Path:
    if not source.is_file():
        message = f"{source} does not exist or is no file. Correct its path where it is named."
        raise AcquireError(message)
    return source


def _copy(source: Path, part: Path, count: Counter) -> None:
    with _existing(source).open("rb") as reader, part.open("wb") as writer:
        while piece := reader.read(CHUNK_BYTES):
            writer.write(piece)
            count(len(piece))


def _download(
    url: str, part: Path, expected: _Expected, retries: int, wait_seconds: float, count: Counter
) -> None:
    transfer = _Transfer(url, part, expected.bytes, count, sure=expected.checksum is not None)
    with transfer_from(url):
        repeat(transfer.go_on, url, retries=retries, wait_seconds=wait_seconds)


@dataclass
class _Transfer:
    """One file on its way into `part`, in one or more requests."""

    url: str
    part: Path
    bytes: int | None
    count: Counter
    sure: bool = True  # a checksum will tell whether what was joined fits
    validator: str | None = None  # ETag of the file whose beginning `part` holds

    def __post_init__(self) -> None:
        tag = _tag_file(self.part)
        if self.validator is None and _size(self.part) and tag.exists():
            self.validator = tag.read_text()

    def go_on(self) -> None:
        """Append to `part` what it lacks, or raise TemporaryError if that ends too early."""
        start = _size(self.part)
        if start and start == self.bytes:
            return
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and self.validator:
            headers["If-Range"] = self.validator
        with get(self.url, headers) as response:
            if response.status_code == 416:
                if response.headers.get("Content-Range") == f"bytes */{start}":
                    return  # all of it was here
                self._discard()
                reason = "the server has less of it than is here; starting afresh"
                raise TemporaryError(reason, after_seconds=0)
            check_status(response)
            pieces = response.raw.stream(CHUNK_BYTES, decode_content=False)
            first = next(pieces, b"")
            if _is_html(first) and not self.part.stem.endswith(HTML_NAMES):
                reason = f"a web page came instead of the file ({first[:60]!r} …)"
                raise TemporaryError(reason)
            if start and not _continues(response, start):
                self._discard()
                if response.status_code == 206:
                    reason = "the server sent another range than asked for"
                    raise TemporaryError(reason)
                start = 0
            tag = response.headers.get("ETag", "")
            self.validator = tag if tag and not tag.startswith("W/") else None
            if self.validator and not self.sure:
                _tag_file(self.part).write_text(self.validator)
            announced = response.headers.get("Content-Length", "")
            whole = start + int(announced) if announced.isdigit() else self.bytes
            self._append(chain([first], pieces), start, whole)
        self._check_length(whole)

    def _append(self, pieces: Iterator[Piece], start: int, whole: int | None) -> None:
        begun = reported = time.monotonic()
        with self.part.open("ab") as handle:
            for piece in pieces:
                handle.write(piece)
                self.count(len(piece))
                if self.bytes is not None and handle.tell() > self.bytes:
                    return  # not the file expected: no need to see its end
                now = time.monotonic()
                if now - reported >= REPORT_SECONDS:
                    reported = now
                    here, left = handle.tell() - start, (whole or start) - start
                    line = progress_line("MB", here // MB, left // MB, now - begun)
                    logger.info("%s, %s", self.part.stem, line)

    def _check_length(self, whole: int | None) -> None:
        size = _size(self.part)
        end = whole if self.bytes is None else self.bytes  # a server may announce what is not so
        if end is not None and size < end:
            reason = f"the transfer ended after {size:,} of {end:,} bytes"
            raise TemporaryError(reason)

    def _discard(self) -> None:
        self.count(-_size(self.part))
        self.part.unlink(missing_ok=True)


def _continues(response: requests.Response, start: int) -> bool:
    answered = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return response.status_code == 206 and answered is not None and int(answered[1]) == start


def _tag_file(part: Path) -> Path:
    """Return where the ETag of a beginning is kept that no checksum could vouch for."""
    return part.with_name(part.name + ".etag")


def _gzip_mistake(path: Path) -> str | None:
    """Say so if a gzip file is damaged, by its own checks."""
    try:
        with gzip.open(path) as handle:
            while handle.read(CHUNK_BYTES):
                pass
    except (OSError, EOFError, zlib.error) as error:
        return f"it is damaged gzip ({error})"
    return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_html(beginning: bytes) -> bool:
    return (
        beginning.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html"))
    )


def _explain(url: str, target: Path, mistake: str) -> str:
    return (
        f"{target}: {mistake} (from {url}). Nothing of it was kept. Run again; if it recurs, the"
        " source has changed the file or a proxy alters it: compare with the source's own record,"
        " and delete the sample's manifest to have it looked up anew."
    )
