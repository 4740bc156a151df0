import logging
import shutil
import subprocess
import sys

import pytest

from epifoundation.errors import DiskFullError
from epifoundation.files import file_hash, progress_line, whole, with_progress


def test_a_file_appears_only_when_its_block_succeeds(tmp_path):
    target = tmp_path / "new" / "out.tsv"
    with pytest.raises(RuntimeError), whole(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert list(target.parent.iterdir()) == []
    with whole(target) as partial:
        assert partial.suffix == ".tsv"
        partial.write_text("all")
    assert target.read_text() == "all"


def test_a_failed_rewrite_keeps_the_old_folder(tmp_path):
    target = tmp_path / "model"
    with whole(target) as partial:
        partial.mkdir()
        (partial / "a").write_text("old")
    with pytest.raises(RuntimeError), whole(target) as partial:
        partial.mkdir()
        raise RuntimeError
    assert (target / "a").read_text() == "old"
    with whole(target) as partial:
        partial.mkdir()
        (partial / "b").write_text("new")
    assert [path.name for path in target.iterdir()] == ["b"]


def test_hashes_are_the_standard_ones(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert file_hash(tmp_path / "f", "md5") == "900150983cd24fb0d6963f7d28e17f72"


def test_progress_has_a_rate_and_an_end(caplog):
    line = progress_line("reads", 1_000, 5_000, 10.0)
    assert line.startswith("reads: 1,000 of 5,000, 100.0/s, 40 s left (ends ")
    with caplog.at_level(logging.INFO):
        items = with_progress(
            [1, 2], "reads", total=2, logger=logging.getLogger("t"), every_seconds=0
        )
        assert list(items) == [1, 2]
    assert "reads: 2 of 2" in caplog.text


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    script = (
        "import os, sys\n"
        "from epifoundation.files import whole\n"
        "with whole(sys.argv[1]) as partial:\n"
        "    partial.write_text('half')\n"
        "    print('writing', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    target = tmp_path / "out.tsv"
    writer = subprocess.Popen(
        [sys.executable, "-c", script, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with writer:
        assert writer.stdout.readline() == b"writing\n"
        with whole(target) as partial:
            partial.write_text("mine")
        assert len(list(tmp_path.iterdir())) == 2
        writer.kill()
        writer.wait()
    with whole(target) as partial:
        partial.write_text("all")
    assert [path.name for path in tmp_path.iterdir()] == ["out.tsv"]


def test_a_full_disk_is_named_whatever_the_library_says(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with (
        pytest.raises(DiskFullError, match="out.npy: the disk is full"),
        whole(tmp_path / "out.npy"),
    ):
        raise OSError("1000000 requested and 131056 written")  # as NumPy says it
    assert list(tmp_path.iterdir()) == []


def test_a_file_never_takes_the_place_of_a_folder(tmp_path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "notes.txt").write_text("years of work")
    with pytest.raises(IsADirectoryError), whole(folder) as partial:
        partial.write_text("counts")
    assert (folder / "notes.txt").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]
