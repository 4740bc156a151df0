"""Text files that may be gzipped, bgzipped or plain, told apart by their first bytes."""

import gzip
from pathlib import Path
from typing import BinaryIO, cast

from epifoundation.errors import DataError

BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def open_bytes(path: Path | str) -> BinaryIO:
    """Open a gzipped, bgzipped or plain file for reading its text as bytes."""
    path = Path(path)
    if not path.exists():
        message = f"{path} does not exist"
        raise DataError(message)
    with path.open("rb") as handle:
        head = handle.read(18)
        if head[:2] != b"\x1f\x8b":
            return path.open("rb")
        if head[12:14] == b"BC":
            handle.seek(max(-len(BGZF_END), -path.stat().st_size), 2)
            if handle.read() != BGZF_END:
                message = f"{path} is cut off: its last bgzip block is missing. Fetch it again."
                raise DataError(message)
    return cast(BinaryIO, gzip.open(path, "rb"))


def is_bgzf(path: Path | str) -> bool:
    """Return whether the file is in the blocked gzip format that tabix can index."""
    with Path(path).open("rb") as handle:
        head = handle.read(18)
    return head[:2] == b"\x1f\x8b" and head[12:14] == b"BC"
