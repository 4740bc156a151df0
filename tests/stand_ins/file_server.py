"""A file server on this machine that can fail in the ways real ones do."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = 1 << 15
HTML = b"<!DOCTYPE html>\n<html><body>Service is being maintained</body></html>"


@dataclass
class FileServer:
    """Serves `files` by path (with query); `faults` of a path are used up one a request."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    late_faults: dict[str, list[tuple[str, int]]] = field(default_factory=dict)  # not of looks
    etags: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, Range
    served: Counter[str] = field(default_factory=Counter)  # bytes by path, but of looks at a part
    seconds_a_piece: float = 0.0  # how long each 32 KB take
    url: str = ""

    def ranges(self, path: str) -> list[str]:
        return [asked_range for asked_path, asked_range in self.asked if asked_path == path]


def handler_of(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def answer(
            self,
            status: int,
            body: bytes,
            *,
            sent: int | None = None,
            announced: int = 0,
            **more: str,
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(announced or len(body)))
            if self.path in server.etags:
                self.send_header("ETag", server.etags[self.path])
            for name, value in more.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            try:
                for start in range(0, len(body[:sent]), PIECE):
                    piece = body[:sent][start : start + PIECE]
                    self.wfile.write(piece)
                    if self.headers.get("Range", "").endswith("-") or not self.headers.get("Range"):
                        server.served[self.path] += len(piece)
                        time.sleep(server.seconds_a_piece)
            except ConnectionError:
                pass  # whoever asked is gone

        def do_GET(self) -> None:  # noqa: N802 as http.server wants it
            asked = self.headers.get("Range", "")
            server.asked.append((self.path, asked))
            faults = server.faults.get(self.path, [])
            if not faults and (not asked or asked.endswith("-")):  # not a look at a part
                faults = server.late_faults.get(self.path, [])
            kind, number = faults.pop(0) if faults else ("", 0)
            if kind == "status":
                return self.answer(number, b"no", Retry_After="0")
            if kind == "redirect":
                return self.answer(302, b"", Location=f"/elsewhere{self.path}?signature=x")
            if kind == "html":
                return self.answer(200, HTML)
            if self.path not in server.files:
                return self.answer(404, b'{"status": "error", "code": 404}')
            body = server.files[self.path]
            if kind == "shortened":
                return self.answer(200, body[:number])
            if kind == "lie":  # more is announced than there is
                return self.answer(200, body, announced=len(body) + number)
            if kind == "changed":
                return self.answer(200, body[:-1] + bytes([body[-1] ^ 1]))
            start, status, more = 0, 200, {}
            if asked and kind != "no range":
                first, _, last = asked.removeprefix("bytes=").partition("-")
                start = int(first)
                if start >= len(body):
                    return self.answer(416, b"", Content_Range=f"bytes */{len(body)}")
                end = min(int(last), len(body) - 1) if last else len(body) - 1
                more = {"Content_Range": f"bytes {start}-{end}/{len(body)}"}
                body, status = body[start : end + 1], 206
            sent = number if kind == "broken" else None
            return self.answer(status, body, sent=sent, **more)

    return Handler


@contextmanager
def serving() -> Iterator[FileServer]:
    """Yield a server that listens until the block ends."""
    files = FileServer()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(files)) as http:
        files.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield files
        http.shutdown()
        thread.join()
