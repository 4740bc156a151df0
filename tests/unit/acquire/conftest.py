"""What the tests of acquisition share: a server, and FASTQ files to serve."""

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer

import pytest
from file_server import FileServer, handler_of


@pytest.fixture
def server() -> Iterator[FileServer]:
    files = FileServer()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(files)) as http:
        files.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield files
        http.shutdown()
        thread.join()


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
