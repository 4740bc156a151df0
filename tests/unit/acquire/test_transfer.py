"""Fetching one file, from a server that fails as servers do."""

import gzip
import hashlib
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from file_server import FileServer

from epifoundation.acquire import transfer
from epifoundation.acquire.hosts import as_https, place_of
from epifoundation.acquire.transfer import fetch
from epifoundation.errors import AcquireError

BODY = gzip.compress(random.Random(0).randbytes(300_000), mtime=0)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "CHUNK_BYTES", 10_000)


@pytest.fixture
def check(md5: Callable[[bytes], str]) -> dict[str, object]:
    return {"md5": md5(BODY), "bytes": len(BODY), "wait_seconds": 0.0}


def test_file_arrives_whole_and_leaves_nothing_else(
    server: FileServer, tmp_path: Path, check: dict
) -> None:
    server.files["/a.gz"] = BODY
    counted: list[int] = []
    fetch(f"{server.url}/a.gz", tmp_path / "new" / "a.gz", counter=counted.append, **check)
    assert (tmp_path / "new" / "a.gz").read_bytes() == BODY
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.gz"]
    assert sum(counted) == len(BODY)


def test_file_that_is_right_is_not_fetched_again(
    server: FileServer, tmp_path: Path, check: dict
) -> None:
    (tmp_path / "a.gz").write_bytes(BODY)
    fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **check)
    assert server.asked == []


def test_file_that_is_wrong_is_replaced(server: FileServer, tmp_path: Path, check: dict) -> None:
    server.files["/a.gz"] = BODY
    (tmp_path / "a.gz").write_bytes(BODY[:-1] + b"?")
    fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **check)
    assert (tmp_path / "a.gz").read_bytes() == BODY


@pytest.mark.parametrize("known", [True, False], ids=["checksum known", "unknown"])
def test_broken_transfer_goes_on_where_it_ended(
    server: FileServer, tmp_path: Path, check: dict, known: bool
) -> None:
    server.files["/a.gz"] = BODY
    server.faults["/a.gz"] = [("broken", 120_000)]
    fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **(check if known else {"wait_seconds": 0.0}))
    first, second = server.ranges("/a.gz")
    assert first == ""
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 120_000
    assert (tmp_path / "a.gz").read_bytes() == BODY


def test_later_call_goes_on_from_the_part_kept(
    server: FileServer, tmp_path: Path, check: dict
) -> None:
    server.files["/a.gz"] = BODY
    server.faults["/a.gz"] = [("broken", 120_000)]
    with pytest.raises(AcquireError, match="could not be fetched in 1 attempts.*kept"):
        fetch(f"{server.url}/a.gz", tmp_path / "a.gz", retries=0, **check)
    assert not (tmp_path / "a.gz").exists()
    kept = (tmp_path / "a.gz.part").stat().st_size
    assert kept > 0
    fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **check)
    assert server.ranges("/a.gz") == ["", f"bytes={kept}-"]
    assert (tmp_path / "a.gz").read_bytes() == BODY


def test_server_without_ranges_starts_again(
    server: FileServer, tmp_path: Path, check: dict
) -> None:
    server.files["/a.gz"] = BODY
    server.faults["/a.gz"] = [("broken", 120_000), ("no range", 0)]
    counted: list[int] = []
    fetch(f"{server.url}/a.gz", tmp_path / "a.gz", counter=counted.append, **check)
    assert (tmp_path / "a.gz").read_bytes() == BODY
    assert sum(counted) == len(BODY)


def test_part_of_another_file_is_noticed_and_fetched_afresh(
    server: FileServer, tmp_path: Path, check: dict
) -> None:
    server.files["/a.gz"] = BODY
    (tmp_path / "a.gz.part").write_bytes(b"x" * 1000)
    fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **check)
    assert (tmp_path / "a.gz").read_bytes() == BODY


def test_part_that_no_checksum_could_vouch_for_is_not_used(
    server: FileServer, tmp_path: Path
) -> None:
    server.files["/a"] = b"right from the start"
    (tmp_path / "a.part").write_bytes(b"wrong")
    fetch(f"{server.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"right from the start"


def test_part_longer_than_the_file_is_discarded(
    server: FileServer, tmp_path: Path, check: dict
) -> None:
    server.files["/a.gz"] = BODY
    (tmp_path / "a.gz.part").write_bytes(b"x" * (len(BODY) + 5))
    fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **check)
    assert (tmp_path / "a.gz").read_bytes() == BODY


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_is_asked_again(
    server: FileServer, tmp_path: Path, check: dict, status: int
) -> None:
    server.files["/a.gz"] = BODY
    server.faults["/a.gz"] = [("status", status)] * 2
    fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **check)
    assert len(server.asked) == 3


def test_missing_file_is_asked_for_once(server: FileServer, tmp_path: Path, check: dict) -> None:
    with pytest.raises(AcquireError, match=r"/a.gz: the server answered 404 Not Found; it was"):
        fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **check)
    assert len(server.asked) == 1


def test_wrong_checksum_names_file_expected_and_found(
    server: FileServer, tmp_path: Path, check: dict, md5: Callable[[bytes], str]
) -> None:
    changed = BODY[:-1] + bytes([BODY[-1] ^ 1])
    server.files["/a.gz"] = changed
    with pytest.raises(AcquireError) as caught:
        fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **check)
    message = str(caught.value)
    assert f"a.gz: its MD5 is {md5(changed)}, expected {md5(BODY)}" in message
    assert f"{server.url}/a.gz" in message
    assert "Run again" in message
    assert list(tmp_path.iterdir()) == []


def test_file_damaged_once_on_the_way_is_fetched_once_more(
    server: FileServer, tmp_path: Path, check: dict
) -> None:
    server.files["/a.gz"] = BODY
    server.faults["/a.gz"] = [("changed", 0)]
    fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **check)
    assert (tmp_path / "a.gz").read_bytes() == BODY


def test_file_shortened_at_its_source_is_refused(
    server: FileServer, tmp_path: Path, check: dict
) -> None:
    server.files["/a.gz"] = BODY[:1000]
    expected = f"a.gz: it has 1,000 bytes, expected {len(BODY):,}"
    with pytest.raises(AcquireError, match=expected):
        fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **check)
    assert not (tmp_path / "a.gz").exists()


@pytest.mark.parametrize("known", [True, False], ids=["checksum known", "unknown"])
def test_web_page_is_no_file(server: FileServer, tmp_path: Path, check: dict, known: bool) -> None:
    server.files["/a.gz"] = BODY
    server.faults["/a.gz"] = [("html", 0)] * 3
    more = {"retries": 2, "wait_seconds": 0.0} | (check if known else {})
    with pytest.raises(AcquireError, match="3 attempts .last: a web page came instead of the file"):
        fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **(more | {"retries": 2}))
    assert list(tmp_path.iterdir()) == []


def test_web_page_in_mid_transfer_loses_nothing(
    server: FileServer, tmp_path: Path, check: dict
) -> None:
    server.files["/a.gz"] = BODY
    server.faults["/a.gz"] = [("broken", 120_000), ("html", 0)]
    fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **check)
    assert (tmp_path / "a.gz").read_bytes() == BODY
    assert [r.startswith("bytes=") for r in server.ranges("/a.gz")] == [False, True, True]


def test_server_that_announces_less_than_there_is_goes_on(
    server: FileServer, tmp_path: Path, check: dict
) -> None:
    server.files["/a.gz"] = BODY
    server.faults["/a.gz"] = [("shortened", 100_000)]
    fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **check)
    assert server.ranges("/a.gz") == ["", "bytes=100000-"]


def test_without_a_checksum_an_etag_vouches_and_gzip_is_read_to_its_end(
    server: FileServer, tmp_path: Path
) -> None:
    body = gzip.compress(BODY, 1)
    server.files["/a.gz"] = body
    server.etags["/a.gz"] = '"one"'
    server.faults["/a.gz"] = [("broken", 1000)]
    size = {"bytes": len(body), "wait_seconds": 0.0}
    with pytest.raises(AcquireError):
        fetch(f"{server.url}/a.gz", tmp_path / "a.gz", retries=0, **size)
    fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **size)
    assert server.ranges("/a.gz") == ["", "bytes=1000-"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.gz"]
    server.files["/b.gz"] = body[:-5] + b"12345"
    with pytest.raises(AcquireError, match="it is damaged gzip"):
        fetch(f"{server.url}/b.gz", tmp_path / "b.gz", **size)


def test_sha256_is_checked(server: FileServer, tmp_path: Path) -> None:
    server.files["/a.gz"] = BODY
    right = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
    fetch(f"{server.url}/a.gz", tmp_path / "a.gz", md5=right)
    with pytest.raises(AcquireError, match="its SHA256 is"):
        fetch(f"{server.url}/a.gz", tmp_path / "b.gz", md5=f"sha256:{'0' * 64}", retries=0)


def test_full_disk_in_mid_transfer_is_said_and_what_came_is_kept(
    server: FileServer, tmp_path: Path, check: dict
) -> None:
    server.files["/a.gz"] = BODY
    program = (
        "import resource, sys\n"
        "from epifoundation.acquire.transfer import fetch\n"
        "from epifoundation.errors import AcquireError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    fetch(sys.argv[1], sys.argv[2], md5=sys.argv[3], bytes=int(sys.argv[4]))\n"
        "except AcquireError as error:\n    sys.exit(str(error))\n"
    )
    arguments = [f"{server.url}/a.gz", tmp_path / "a.gz", check["md5"], check["bytes"]]
    command = [sys.executable, "-c", program, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "a.gz: no room for more of it after 100,000 bytes (File too large)" in run.stderr
    assert (tmp_path / "a.gz.part").stat().st_size == 100_000
    fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **check)
    assert server.ranges("/a.gz") == ["", "bytes=100000-"]


def test_gz_name_without_gzip_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.files["/a.gz"] = b"not packed"
    with pytest.raises(AcquireError, match="it is not gzip"):
        fetch(f"{server.url}/a.gz", tmp_path / "a.gz")


def test_local_files_are_copied_and_verified(tmp_path: Path, check: dict) -> None:
    source = tmp_path / "with space.gz"
    source.write_bytes(BODY)
    fetch(source.as_uri(), tmp_path / "b.gz", **check)
    fetch(str(source), tmp_path / "c.gz", **check)
    assert (tmp_path / "b.gz").read_bytes() == (tmp_path / "c.gz").read_bytes() == BODY
    source.write_bytes(b"")
    with pytest.raises(AcquireError, match="it has 0 bytes"):
        fetch(source.as_uri(), tmp_path / "d.gz", **check)
    with pytest.raises(AcquireError, match="absent.gz does not exist"):
        fetch(str(tmp_path / "absent.gz"), tmp_path / "e.gz")


def test_unreachable_server_is_named(tmp_path: Path) -> None:
    with pytest.raises(AcquireError, match=r"127.0.0.1:9/x could not be fetched in 2 attempts"):
        fetch("http://127.0.0.1:9/x", tmp_path / "x", retries=1, wait_seconds=0)
    with pytest.raises(AcquireError, match="no address to fetch from"):
        fetch("gopher://host/x", tmp_path / "x", wait_seconds=0)


def test_redirection_is_followed_and_goes_on_too(
    server: FileServer,
    tmp_path: Path,
    check: dict,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(transfer, "REPORT_SECONDS", 0.0)
    elsewhere = "/elsewhere/a.gz?signature=x"
    server.files[elsewhere] = BODY
    server.faults = {"/a.gz": [("redirect", 0)] * 3, elsewhere: [("broken", 120_000)]}
    with caplog.at_level("INFO", logger=transfer.__name__):
        fetch(f"{server.url}/a.gz", tmp_path / "a.gz", **check)
    assert (tmp_path / "a.gz").read_bytes() == BODY
    assert server.ranges(elsewhere)[1].startswith("bytes=")
    assert "a.gz, MB: " in caplog.text
    del server.files[elsewhere]
    with pytest.raises(AcquireError, match="/a.gz: the server answered 404") as caught:
        fetch(f"{server.url}/a.gz", tmp_path / "b.gz", **check)
    assert "signature" not in str(caught.value)


def test_ftp_becomes_https() -> None:
    assert as_https("ftp://host/a/b.gz") == "https://host/a/b.gz"
    assert as_https("http://host/a") == "http://host/a"


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("data/genome.fa.gz", "data/genome.fa.gz"),
        ("https://host/a/@@download/b.bed.gz?x=1/2", "source/b.bed.gz"),
        ("https://host/b.bed.gz#md5=0", "source/b.bed.gz"),
        ("file:///data/b.bed", "source/b.bed"),
        (None, []),
    ],
)
def test_reference_is_read_from_its_path_or_from_its_copy(
    location: str | None, place: str | list[str]
) -> None:
    assert place_of(location, "source") == place
