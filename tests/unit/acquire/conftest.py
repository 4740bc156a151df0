"""What the tests of acquisition share: a server, and FASTQ files to serve."""

import gzip
import hashlib
from collections.abc import Callable, Iterator

import pytest
from file_server import FileServer, serving


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as files:
        yield files


@pytest.fixture
def fastq() -> Callable[[int], bytes]:
    """A gzipped FASTQ file whose reads have the given length."""

    def make(read_length: int, n_reads: int = 30) -> bytes:
        read = f"@r\n{'A' * read_length}\n+\n{'F' * read_length}\n"
        return gzip.compress((read * n_reads).encode(), mtime=0)

    return make


@pytest.fixture
def md5() -> Callable[[bytes], str]:
    return lambda content: hashlib.md5(content).hexdigest()
