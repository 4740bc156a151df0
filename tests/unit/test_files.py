import logging

import pytest

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
