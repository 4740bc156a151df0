"""Text files that may be gzipped, bgzipped or plain, told apart by their first bytes."""

import gzip
import io
import shutil
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, TypeVar, cast

from epifoundation.errors import DataError

BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
BGZF_HEADER_BYTES = 18  # SAM specification 4.1: the size of a block less one is in its last two
GZIP_WBITS = 31  # zlib: a gzip header and trailer around the data, both checked
READ_BYTES = 2**20

Item = TypeVar("Item")


def open_bytes(path: Path | str) -> BinaryIO:
    """Open a gzipped, bgzipped or plain file for reading its text as bytes."""
    path = _whole_file(path)
    if _head(path)[:2] != b"\x1f\x8b":
        return path.open("rb")
    return cast(BinaryIO, gzip.open(path, "rb"))


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Yield a file that libraries can open by name: itself, or while needed a copy ungzipped."""
    if _head(path)[:2] != b"\x1f\x8b":
        yield path
        return
    with NamedTemporaryFile(suffix=Path(path.name.removesuffix(".gz")).suffix) as copy:
        with gzip.open(path, "rb") as packed:
            shutil.copyfileobj(packed, copy, READ_BYTES)
        copy.flush()
        yield Path(copy.name)


def text_blocks(path: Path | str, block_bytes: int, *, threads: int = 1) -> Iterator[bytes]:
    """Yield the text of a gzipped, bgzipped or plain file in blocks of about `block_bytes`.

    With more than one thread the next blocks are made while the caller works on this one: one of a
    gzipped file, `threads` - 1 of a bgzipped one, whose parts are independent. Raises DataError for
    a file that is cut off or damaged, also where open_bytes would read on.
    """
    path = _whole_file(path)
    head = _head(path)
    try:
        if head[:2] != b"\x1f\x8b":
            yield from _plain_blocks(path, block_bytes)
        elif not _is_bgzf_head(head):
            blocks = _gzip_blocks(path, 0, block_bytes)
            yield from _one_ahead(blocks) if threads > 1 else blocks
        else:
            yield from _bgzf_blocks(path, block_bytes, threads)
    except (EOFError, zlib.error) as error:
        message = f"{path} is cut off or damaged ({error}). Fetch or remake it."
        raise DataError(message) from error


def is_bgzf(path: Path | str) -> bool:
    """Return whether the file is in the blocked gzip format that tabix can index."""
    return _is_bgzf_head(_head(Path(path)))


def _is_bgzf_head(head: bytes) -> bool:
    return head[:4] == b"\x1f\x8b\x08\x04" and head[12:14] == b"BC"


def _head(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(BGZF_HEADER_BYTES)


def _whole_file(path: Path | str) -> Path:
    """Return the path of a file that exists and, if bgzipped, has its last block."""
    path = Path(path)
    if not path.is_file():
        message = f"{path} {'is a folder' if path.is_dir() else 'does not exist'}"
        raise DataError(message)
    if is_bgzf(path):
        with path.open("rb") as handle:
            handle.seek(max(-len(BGZF_END), -path.stat().st_size), io.SEEK_END)
            if handle.read() != BGZF_END:
                message = f"{path} is cut off: its last bgzip block is missing. Fetch it again."
                raise DataError(message)
    return path


def _plain_blocks(path: Path, block_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as handle:
        while block := handle.read(block_bytes):
            yield block


def _gzip_blocks(path: Path, begin: int, block_bytes: int) -> Iterator[bytes]:
    """Yield the text of one gzip member after another, from byte `begin` of the file on."""
    parts, n_bytes = [], 0
    with path.open("rb") as handle:
        handle.seek(begin)
        for part in _gzip_parts(handle, block_bytes):
            parts.append(part)
            n_bytes += len(part)
            if n_bytes >= block_bytes:
                yield b"".join(parts)
                parts, n_bytes = [], 0
    yield b"".join(parts)


def _gzip_parts(handle: BinaryIO, block_bytes: int) -> Iterator[bytes]:
    compressed = b""
    while compressed := compressed or handle.read(READ_BYTES):
        compressed = compressed.lstrip(b"\0")  # padding may follow a member
        if not compressed:
            continue
        member = zlib.decompressobj(GZIP_WBITS)
        while not member.eof:
            compressed = compressed or handle.read(READ_BYTES)
            at_end = not compressed
            text = member.decompress(compressed, block_bytes)
            compressed = member.unused_data if member.eof else member.unconsumed_tail
            if at_end and not text and not member.eof:
                message = "it ends within compressed data"
                raise EOFError(message)
            yield text


def _bgzf_blocks(path: Path, block_bytes: int, threads: int) -> Iterator[bytes]:
    batches = _bgzf_batches(path, block_bytes)
    if threads == 1:
        yield from map(_inflated, batches)
        return
    pending: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(threads - 1) as pool:
        for batch in batches:
            pending.append(pool.submit(_inflated, batch))
            if len(pending) >= threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _bgzf_batches(path: Path, block_bytes: int) -> Iterator[list[bytes]]:
    """Yield lists of compressed blocks that hold about `block_bytes` of text together."""
    batch, n_bytes = [], 0
    with path.open("rb", buffering=READ_BYTES) as handle:
        while head := handle.read(BGZF_HEADER_BYTES):
            if not _is_bgzf_head(head):
                message = f"no bgzip block begins at byte {handle.tell() - len(head):,}"
                raise EOFError(message)
            n_left = int.from_bytes(head[16:18], "little") + 1 - len(head)
            block = head + handle.read(max(n_left, 0))
            batch.append(block)
            n_bytes += int.from_bytes(block[-4:], "little")
            if n_bytes >= block_bytes:
                yield batch
                batch, n_bytes = [], 0
    yield batch


def _inflated(blocks: Iterable[bytes]) -> bytes:
    return b"".join(zlib.decompress(block, GZIP_WBITS) for block in blocks)


def _one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items, each made in another thread while the one before is in use."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
