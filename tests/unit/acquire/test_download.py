"""All files of a sample: verified, resumed, and there only when all are right."""

import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from file_server import FileServer

from epifoundation.acquire import download as module
from epifoundation.acquire.download import download
from epifoundation.acquire.locator import PREFETCH
from epifoundation.config import AcquireConfig
from epifoundation.contracts import MANIFEST
from epifoundation.errors import AcquireError

SETTINGS = AcquireConfig(catalogue=None, parallel_downloads=3, retries=0, keep_fastq=False)
READS = {"gex_L001_R1": 28, "gex_L001_R2": 90, "atac_L001_R1": 50, "atac_L001_R2": 24}


@pytest.fixture
def manifest(
    server: FileServer, fastq: Callable[[int], bytes], md5: Callable[[bytes], str]
) -> pd.DataFrame:
    rows = []
    for name, length in READS.items():
        content = fastq(length)
        server.files[f"/{name}.fastq.gz"] = content
        library, lane, read = name.split("_")
        rows.append(
            {
                "file": f"{name}.fastq.gz",
                "url": f"{server.url}/{name}.fastq.gz",
                "bytes": len(content),
                "md5": md5(content),
                "library": library,
                "lane": lane,
                "read": read,
                "route": "fastq",
            }
        )
    table = pd.DataFrame(rows)
    MANIFEST.check(table, "manifest")
    return table


def test_folder_holds_what_the_manifest_says_and_nothing_else(
    server: FileServer,
    manifest: pd.DataFrame,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger=module.__name__):
        download(manifest, tmp_path / "pbmc", SETTINGS)
    assert {p.name: p.read_bytes() for p in (tmp_path / "pbmc").iterdir()} == {
        path.removeprefix("/"): content for path, content in server.files.items()
    }
    assert [p.name for p in tmp_path.iterdir()] == ["pbmc"]
    assert "4 of 4 files" in caplog.text
    assert "MB/s" in caplog.text
    assert "s left" in caplog.text


def test_what_prefetch_brought_is_counted(
    manifest: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    server: FileServer,
) -> None:
    brought = server.files["/gex_L001_R1.fastq.gz"]
    manifest.loc[0, "url"] = f"{PREFETCH}SRR1"
    monkeypatch.setattr(module, "prefetch", lambda run, target: target.write_bytes(brought))
    with caplog.at_level(logging.INFO, logger=module.__name__):
        download(manifest, tmp_path / "pbmc", SETTINGS)
    assert "4 of 4 files" in caplog.text
    assert "SRR1" not in "".join(path for path, _ in server.asked)


def test_restart_fetches_only_what_is_lacking(
    server: FileServer, manifest: pd.DataFrame, tmp_path: Path
) -> None:
    last = "/atac_L001_R2.fastq.gz"
    content = server.files.pop(last)
    with pytest.raises(AcquireError, match="atac_L001_R2.fastq.gz.*404"):
        download(manifest, tmp_path / "pbmc", SETTINGS.model_copy(update={"parallel_downloads": 1}))
    assert not (tmp_path / "pbmc").exists()
    server.files[last] = content
    server.asked.clear()
    download(manifest, tmp_path / "pbmc", SETTINGS)
    assert [path for path, _ in server.asked] == [last]
    assert len(list((tmp_path / "pbmc").iterdir())) == 4


def test_complete_folder_is_not_fetched_again_and_strays_go(
    server: FileServer, manifest: pd.DataFrame, tmp_path: Path
) -> None:
    download(manifest, tmp_path / "pbmc", SETTINGS)
    (tmp_path / "pbmc" / "gex_L002_R1.fastq.gz").write_bytes(b"of another manifest")
    server.asked.clear()
    download(manifest, tmp_path / "pbmc", SETTINGS)
    assert server.asked == []
    assert len(list((tmp_path / "pbmc").iterdir())) == 4


def test_wrong_checksum_leaves_no_folder(manifest: pd.DataFrame, tmp_path: Path) -> None:
    manifest.loc[1, "md5"] = "0" * 32
    with pytest.raises(AcquireError, match=f"gex_L001_R2.*its MD5 is .*expected {'0' * 32}"):
        download(manifest, tmp_path / "pbmc", SETTINGS)
    assert not (tmp_path / "pbmc").exists()


def test_full_disk_is_said_before_anything_is_fetched(
    server: FileServer, manifest: pd.DataFrame, tmp_path: Path
) -> None:
    manifest.loc[0, "bytes"] = 10**18
    with pytest.raises(AcquireError, match="GB are still needed, for files to fetch and for FASTQ"):
        download(manifest, tmp_path / "pbmc", SETTINGS)
    assert server.asked == []
