"""A file named by its address alone: a download that was stopped goes on, a checksum is checked."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from file_server import FileServer

from epifoundation.acquire import transfer
from epifoundation.acquire.addresses import fetch_named, with_checksum
from epifoundation.errors import AcquireError

ROOT = Path(__file__).parents[3]
BODY = random.Random(0).randbytes(300_000)
SHA256 = f"#sha256={hashlib.sha256(BODY).hexdigest()}"


@pytest.mark.parametrize("checksum", ["", SHA256], ids=["by ETag", "by checksum"])
def test_a_later_call_asks_for_the_rest_alone(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checksum: str
) -> None:
    monkeypatch.setattr(transfer, "CHUNK_BYTES", 10_000)
    server.files["/a.h5ad"] = BODY
    if not checksum:
        server.etags["/a.h5ad"] = '"1"'
    server.late_faults["/a.h5ad"] = [("broken", 120_000)]
    url = f"{server.url}/a.h5ad{checksum}"
    with pytest.raises(AcquireError, match="what has come so far is kept"):
        fetch_named(url, tmp_path / "a.h5ad", retries=0)
    kept = (tmp_path / "a.h5ad.part").stat().st_size
    assert kept > 0
    server.asked.clear()
    fetch_named(url, tmp_path / "a.h5ad", retries=0)
    assert server.ranges("/a.h5ad") == ["bytes=0-0", f"bytes={kept}-"]
    assert (tmp_path / "a.h5ad").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5ad"]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (f"#md5={'0' * 32}", "its MD5 is .*, expected 0000"),
        (f"#sha256={'0' * 64}", "its SHA256 is .*, expected 0000"),
        ("#md5=00", "after # stands md5=<32 digits>"),
    ],
    ids=["md5", "sha256", "no checksum"],
)
@pytest.mark.parametrize("local", [False, True], ids=["served", "local"])
def test_a_wrong_checksum_is_refused(
    server: FileServer, tmp_path: Path, wrong: str, problem: str, local: bool
) -> None:
    server.files["/a.h5ad"] = BODY
    source = tmp_path / "source"
    source.write_bytes(BODY)
    url = source.as_uri() if local else f"{server.url}/a.h5ad"
    with pytest.raises(AcquireError, match=problem):
        fetch_named(f"{url}{wrong}", tmp_path / "a.h5ad")
    assert not (tmp_path / "a.h5ad").exists()


def test_the_checksum_of_the_configuration_goes_first(
    server: FileServer, tmp_path: Path, md5: Callable[[bytes], str]
) -> None:
    server.files["/a.h5ad"] = BODY
    url = f"{server.url}/a.h5ad"
    fetch_named(f"{url}#md5={'0' * 32}", tmp_path / "a.h5ad", md5=md5(BODY))
    with pytest.raises(AcquireError, match="expected 0000"):
        fetch_named(f"{url}#md5={md5(BODY)}", tmp_path / "b.h5ad", md5="0" * 32)


def test_the_papers_blacklist_is_held_to_its_checksum() -> None:
    reference = yaml.safe_load((ROOT / "config.yaml").read_text())["reference"]
    url, checksum = with_checksum(reference["blacklist"])
    assert url.endswith("ENCFF356LFX.bed.gz")
    assert checksum == "393688b4f06c9ce26165d47433dd8c37"
