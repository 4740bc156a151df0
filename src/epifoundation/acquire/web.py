"""One HTTP request: what is worth another attempt, and what an answer means."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests
import urllib3

from epifoundation import __version__
from epifoundation.acquire.manners import wait_for_turn
from epifoundation.errors import AcquireError

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

TIMEOUT_SECONDS = (20.0, 120.0)  # to connect; between two pieces
LONGEST_WAIT_SECONDS = 120.0
TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
NOTHING = frozenset({204, 404})
HEADERS = {"User-Agent": f"epifoundation/{__version__}", "Accept-Encoding": "identity"}
BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
    ConnectionError,
    TimeoutError,
)


class TemporaryError(Exception):
    """The attempt failed in a way that another one may not."""

    def __init__(self, reason: str, *, after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


def get(url: str, headers: dict[str, str]) -> requests.Response:
    """Send the request; the body is still to be read and the answer to be closed."""
    wait_for_turn(url)
    try:
        return requests.get(url, headers=HEADERS | headers, stream=True, timeout=TIMEOUT_SECONDS)
    except ValueError as error:  # of requests: no scheme, no host, a scheme it does not know
        message = f"{url!r} is no address to fetch from ({error})"
        raise AcquireError(message) from None


def check_status(response: requests.Response) -> None:
    """Raise TemporaryError for an answer that may change, AcquireError for one that will not."""
    status = response.status_code
    if status in TEMPORARY:
        after = response.headers.get("Retry-After", "")
        reason = f"the server answered {status} {response.reason}"
        raise TemporaryError(reason, after_seconds=float(after) if after.isdigit() else None)
    if status >= 400:
        hint = (
            "it needs a login or is under controlled access. Ask its keepers, and list the files"
            " in a catalogue of your own (config/README.md)."
            if status in (401, 403, 451)
            else "it was moved or withdrawn, or the address is wrong."
        )
        asked = response.history[0].url if response.history else response.url
        message = f"{asked}: the server answered {status} {response.reason}; {hint}"
        raise AcquireError(message)


def repeat(
    attempt: Callable[[], Answer], what: str, *, retries: int, wait_seconds: float
) -> Answer:
    """Return what `attempt` returns, trying again after waits that double, or AcquireError."""
    for done in range(retries + 1):
        try:
            return attempt()
        except TemporaryError as problem:
            reason, after = str(problem), problem.after_seconds
        except BROKEN as problem:
            reason, after = f"{type(problem).__name__}: {problem}", None
        if done < retries:
            wait = min(wait_seconds * 2**done if after is None else after, LONGEST_WAIT_SECONDS)
            logger.warning("%s: %s; next attempt in %.1f s", what, reason, wait)
            time.sleep(wait)
    message = (
        f"{what} could not be fetched in {retries + 1} attempts (last: {reason}). Check the"
        " connection and run again; what has come so far is kept."
    )
    raise AcquireError(message)


def get_text(url: str, *, retries: int = 5, wait_seconds: float = 1.0) -> str | None:
    """Return the text at an address; None where there is nothing (204, 404)."""

    def attempt() -> str | None:
        with get(url, {}) as response:
            if response.status_code in NOTHING:
                return None
            check_status(response)
            return _whole(response).decode("utf-8", errors="replace")

    return repeat(attempt, url, retries=retries, wait_seconds=wait_seconds)


def _whole(response: requests.Response) -> bytes:
    """Return the body, or raise TemporaryError where less of it came than was announced."""
    body = response.content
    announced = response.headers.get("Content-Length", "")
    if announced.isdigit() and len(body) < int(announced):
        reason = f"the answer ended after {len(body):,} of {int(announced):,} bytes"
        raise TemporaryError(reason)
    return body


def size_of(url: str, *, retries: int = 5, wait_seconds: float = 1.0) -> int | None:
    """Return how many bytes a server says the file at an address has; None if it does not say."""

    def attempt() -> int | None:
        with get(url, {"Range": "bytes=0-0"}) as response:
            if response.status_code == 416:  # an empty file has no first byte
                return 0
            check_status(response)
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if response.status_code == 206:
                return int(total) if total.isdigit() else None
            announced = response.headers.get("Content-Length", "")
            return int(announced) if announced.isdigit() else None

    return repeat(attempt, url, retries=retries, wait_seconds=wait_seconds)


def get_json(url: str, *, retries: int = 5, wait_seconds: float = 1.0) -> Any:
    """Return the JSON at an address; None where there is nothing (204, 404)."""
    text = get_text(url, retries=retries, wait_seconds=wait_seconds)
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        beginning = (text or "")[:60]
        message = f"{url} did not answer in JSON but with {beginning!r}. Is a proxy between?"
        raise AcquireError(message) from None
