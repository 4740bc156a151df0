"""Fragments of several files as tags."""

import gzip
from collections import Counter, namedtuple

import pytest

from epifoundation.data import pool as pool_module
from epifoundation.data.groups import grouped_fragments
from epifoundation.data.pool import pool_fragments
from epifoundation.errors import DataError, DiskFullError

STANDARD = ["chr1", "chr2"]


def write(path, *fragments):
    path.write_text("".join("\t".join(map(str, line)) + "\t1\n" for line in fragments))
    return path


def lines_of(path):
    return [tuple(line.split("\t")[:2]) for line in path.read_text().splitlines()]


@pytest.fixture
def files(tmp_path):
    first = [("chr1", 5 if i < 2 else i * 10, i * 10 + 300, "A") for i in range(12)]
    second = [("chr1", 110, 111, "B"), ("chr2", 110, 111, "A"), ("chr1", 7, 9, "B")]
    return [write(tmp_path / "a.tsv", *first), write(tmp_path / "b.tsv", *second)]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_pool_holds_each_start_once_and_measures_the_first_ten(files, tmp_path, threads):
    pool = pool_fragments(files, cap=1, standard_chromosomes=STANDARD, threads=threads)
    first = [i * 10 + 300 - (5 if i < 2 else i * 10) for i in range(10)]
    assert (pool.n_fragments, pool.tag_size) == (15, sum(first) // 10)
    assert pool.write_tags(tmp_path / "pool.bed", cap=1) == 13
    starts = [5, 7, *range(20, 120, 10)]
    expected = [*(("chr1", str(start)) for start in starts), ("chr2", "110")]
    assert lines_of(tmp_path / "pool.bed") == expected
    swapped = pool_fragments(files[::-1], cap=1, standard_chromosomes=STANDARD)
    assert swapped.tag_size == 1  # all three of a short file: (1 + 1 + 2) / 3


def test_duplicates_are_kept_up_to_the_cap(files, tmp_path):
    pool = pool_fragments(files, cap=3, standard_chromosomes=STANDARD)
    assert pool.write_tags(tmp_path / "pool.bed", cap=2) == 15
    assert Counter(lines_of(tmp_path / "pool.bed")).most_common(2)[1] == (("chr1", "110"), 2)
    assert pool.write_tags(tmp_path / "pool.bed", cap=1) == 13


def test_files_of_another_naming_are_refused_or_told_of(files, tmp_path, caplog):
    other = write(tmp_path / "c.tsv", ("1", 5, 9, "A"), ("1", 6, 9, "A"), ("2", 5, 9, "A"))
    message = r"c\.tsv: 3 of 3 fragments are .*most on '1', .* 'chr1'\).* calls it chr1: rename"
    with pytest.raises(DataError, match=message):
        pool_fragments([*files, other], cap=1, standard_chromosomes=STANDARD)
    groups = grouped_fragments([other], [{"A": "x"}], cap=1, standard_chromosomes=STANDARD)
    with pytest.raises(DataError, match=message), groups:
        pass
    mixed = write(tmp_path / "d.tsv", ("1", 5, 9, "A"), ("1", 6, 9, "A"), ("chr2", 5, 9, "A"))
    pool_fragments([*files, mixed], cap=1, standard_chromosomes=STANDARD)
    assert "2 of 3 fragments are on chromosomes that are not in" in caplog.text


def test_the_same_file_twice(files, tmp_path, caplog):
    link, copy, zipped = (tmp_path / name for name in ("link.tsv", "copy.tsv", "copy.tsv.gz"))
    link.symlink_to(files[0])
    copy.write_bytes(files[0].read_bytes())
    zipped.write_bytes(gzip.compress(files[0].read_bytes()))
    for again in (link, copy):
        with pytest.raises(DataError, match=rf"{again.name} is given twice"):
            pool_fragments([*files, again], cap=1, standard_chromosomes=STANDARD)
    pool_fragments([*files, zipped], cap=1, standard_chromosomes=STANDARD)
    assert caplog.text.count("hold the same fragments") == 1


def test_nothing_or_an_empty_file_is_refused(files, tmp_path):
    with pytest.raises(DataError, match="no sample of the pool has fragments"):
        pool_fragments([], cap=1, standard_chromosomes=STANDARD)
    with pytest.raises(DataError, match=r"empty\.tsv holds no fragment"):
        pool_fragments(
            [*files, write(tmp_path / "empty.tsv")], cap=1, standard_chromosomes=STANDARD
        )


def test_a_small_temporary_folder_is_named_before_it_is_full(files, tmp_path, monkeypatch):
    pool = pool_fragments(files, cap=1, standard_chromosomes=STANDARD)
    usage = namedtuple("Usage", "free")(100)
    monkeypatch.setattr(pool_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        DiskFullError, match=r"0 MB free.* 13 tags needs about 0 MB there\. Set TMPDIR"
    ):
        pool.write_tags(tmp_path / "pool.bed", cap=1)


def test_a_temporary_folder_that_runs_full_is_named(tmp_path, monkeypatch):
    with pytest.raises(DiskFullError, match=r"is full\. Set TMPDIR"), pool_module.room_in(tmp_path):
        raise OSError(28, "No space left on device")
    with pytest.raises(PermissionError), pool_module.room_in(tmp_path):
        raise PermissionError(13, "no")
    usage = namedtuple("Usage", "free")(100)
    monkeypatch.setattr(pool_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DiskFullError), pool_module.room_in(tmp_path):
        raise OSError("40 requested and 30 written")
