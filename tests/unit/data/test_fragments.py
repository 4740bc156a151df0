"""Fragment files: what is read, what is counted, what is refused."""

import gzip

import numpy as np
import pandas as pd
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epifoundation.data import fragment_reader as fragments_module
from epifoundation.data.fragment_files import index_fragments
from epifoundation.data.fragment_reader import read_fragments
from epifoundation.data.fragments import count_fragments_in_peaks
from epifoundation.data.regions import RegionIndex, read_bed
from epifoundation.errors import DataError

LINES = [
    "chr1\t100\t200\tAAA-1\t3",
    "chr1\t150\t400\tCCC-1\t1",
    "chr1\t150\t400\tCCC-1\t1",
    "chr2\t10\t60\tAAA-1\t1",
    "chr2\t10\t60\tGGG-1\t1",
]


@pytest.fixture
def write(tmp_path):
    def write(lines=LINES, name="fragments.tsv.gz", comments=()):
        path = tmp_path / name
        text = "".join(f"{line}\n" for line in [*comments, *lines])
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


def frame(*regions):
    return pd.DataFrame(regions, columns=["chrom", "start", "end"])


def rows(chunks):
    return [
        (chunk.chromosomes[c], int(s), int(e), int(b))
        for chunk in chunks
        for c, s, e, b in zip(chunk.chromosome, chunk.start, chunk.end, chunk.barcode, strict=True)
    ]


def test_counts_fragments_that_share_a_base_once_per_peak(write):
    peaks = frame(
        ("chr2", 0, 10),  # ends where fragments begin: touching is not overlapping
        ("chr1", 199, 200),
        ("chr1", 0, 1000),
        ("chr1", 400, 500),
        ("chr2", 59, 70),
    )
    counts = count_fragments_in_peaks(write(), peaks, ["CCC-1", "AAA-1"], keep_absent=False)
    assert counts.X.dtype == np.int32
    assert counts.X.toarray().tolist() == [[0, 2, 2, 0, 0], [0, 1, 1, 0, 1]]
    assert counts.obs_names.tolist() == ["CCC-1", "AAA-1"]
    assert counts.var_names[0] == "chr2:0-10"


@pytest.mark.parametrize("name", ["f.tsv.gz", "f.tsv"])
def test_header_lines_are_skipped_and_barcodes_keep_their_hash(write, name):
    path = write([*LINES, "chr3\t1\t2\tsample#AAA-1\t1"], name, comments=["# id=x", "# a\tb\tc"])
    assert rows(read_fragments(path, ["sample#AAA-1"]))[-1] == ("chr3", 1, 2, 0)


def test_comments_in_the_middle_and_a_last_line_without_newline(tmp_path):
    path = tmp_path / "f.tsv"
    path.write_text(f"{LINES[0]}\n# note\n{LINES[3]}")
    assert [row[:3] for row in rows(read_fragments(path))] == [
        ("chr1", 100, 200),
        ("chr2", 10, 60),
    ]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 30, 10_000])
def test_chunk_size_changes_nothing(write, monkeypatch, chunk_bytes):
    whole = rows(read_fragments(write(), ["AAA-1"]))
    monkeypatch.setattr(fragments_module, "CHUNK_BYTES", chunk_bytes)
    chunks = list(read_fragments(write(), ["AAA-1"]))
    assert rows(chunks) == whole
    assert [c.first_line for c in chunks] == list(np.cumsum([0, *map(len, chunks)])[:-1])


def test_unsorted_files_and_four_columns_count_alike(write):
    peaks = frame(("chr1", 120, 160), ("chr2", 0, 100))
    expected = count_fragments_in_peaks(write(), peaks, ["AAA-1"], keep_absent=False).X.toarray()
    shuffled = write([line.rsplit("\t", 1)[0] for line in LINES[::-1]], "s.tsv.gz")
    found = count_fragments_in_peaks(shuffled, peaks, ["AAA-1"], keep_absent=False)
    assert (found.X.toarray() == expected).all()


def test_peaks_on_absent_chromosomes_are_dropped_or_kept(write):
    peaks = frame(("chr9", 0, 10), ("chr1", 0, 1000))
    assert count_fragments_in_peaks(write(), peaks, ["AAA-1"], keep_absent=False).n_vars == 1
    kept = count_fragments_in_peaks(write(), peaks, ["AAA-1"], keep_absent=True)
    assert kept.X.toarray().tolist() == [[0, 1]]


def test_unknown_barcodes_beside_known_ones_have_no_counts(write):
    peaks = frame(("chr1", 0, 1000))
    counts = count_fragments_in_peaks(write(), peaks, ["TTT-1", "AAA-1"], keep_absent=False)
    assert counts.X.toarray().ravel().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param([], "holds no fragment", id="empty"),
        pytest.param(["gene,count"], "is not a fragments file", id="not fragments"),
        pytest.param(["chr1\tx\t5\tA"], "is not a fragments file", id="words for numbers"),
        pytest.param([*LINES, "chr1\tx\t5\tA\t1"], "is not a fragment", id="a bad line later"),
        pytest.param([*LINES, "chr1\t1\t5"], "is not a fragment", id="a short line later"),
        pytest.param(
            [*LINES, "chr1\t5\t5\tA\t1"],
            r"1 of 6 fragments .* chr1:5-5, fragment 6",
            id="empty interval",
        ),
    ],
)
def test_files_that_hold_no_fragments_are_refused(write, lines, message):
    with pytest.raises(DataError, match=message):
        list(read_fragments(write(lines)))


def test_truncated_files_are_refused(write, tmp_path):
    whole = write(LINES * 2000).read_bytes()
    cut = tmp_path / "cut.tsv.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut off or damaged"):
        list(read_fragments(cut))
    plain, blocks = write(name="plain.tsv"), tmp_path / "blocks.tsv.gz"
    pysam.tabix_compress(str(plain), str(blocks), force=True)
    assert len(rows(read_fragments(blocks))) == len(LINES)
    cut.write_bytes(blocks.read_bytes()[:-28])
    with pytest.raises(DataError, match="last bgzip block is missing"):
        list(read_fragments(cut))


def test_barcodes_of_another_sample_are_refused(write):
    with pytest.raises(DataError, match=r"none of the 1 barcodes .* TTT-1, the file has AAA-1"):
        list(read_fragments(write(), ["TTT-1"]))
    with pytest.raises(DataError, match="1 barcodes are listed twice"):
        list(read_fragments(write(), ["AAA-1", "AAA-1"]))


def test_peaks_of_another_genome_are_refused(write):
    with pytest.raises(DataError, match=r"none of the 1 regions .* on 1, fragments on chr1"):
        count_fragments_in_peaks(write(), frame(("1", 0, 10)), ["AAA-1"], keep_absent=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t5\t5\n", "1 of 1 lines are not regions"),
        ("chr1 5 9\n", "are not regions"),
        ("chr1\t5\t9\nchr1\t5\t2147483648\n", r"1 of 2 .* end <= 2,147,483,647 \(first: .*648'"),
        ("chr1\t5\t10000000000000\n", "1 of 1 lines are not regions"),
        (f"chr1\t{10**30}\t{10**31}\n", "1 of 1 lines are not regions"),
        ("chr1\tnan\tinf\n", "1 of 1 lines are not regions"),
    ],
)
def test_beds_that_hold_no_regions_are_refused(tmp_path, text, message):
    path = tmp_path / "peaks.bed"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_bed(path)


intervals = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=25)


@settings(deadline=None, max_examples=200)
@given(fragments=intervals, regions=intervals)
def test_overlaps_are_those_of_every_pair_compared(fragments, regions):
    start = np.array([s for s, _ in fragments])
    end = start + np.array([width for _, width in fragments])
    table = frame(*(("chr1", s, s + width) for s, width in regions))
    found = RegionIndex(table).overlaps("chr1", start, end)
    expected = {
        (i, j)
        for i, (s, e) in enumerate(zip(start, end, strict=True))
        for j, (rs, re) in enumerate(zip(table["start"], table["end"], strict=True))
        if s < re and e > rs
    }
    pairs = list(zip(*found, strict=True))
    assert set(pairs) == expected
    assert len(pairs) == len(expected)


def test_unsorted_fragments_become_sorted_and_indexed(write, tmp_path):
    target = tmp_path / "out" / "atac_fragments.tsv.gz"
    index_fragments(write(LINES[::-1]), target)
    assert rows(read_fragments(target))[0][:3] == ("chr2", 10, 60)  # first seen, first written
    with pysam.TabixFile(str(target)) as tabix:
        assert [line.split("\t")[3] for line in tabix.fetch("chr1", 0, 120)] == ["AAA-1"]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("further", [(), ("007", '"1e5')])
def test_sorting_leaves_every_other_column_as_it_was(tmp_path, further, ending):
    names = ["0012", "1.0", '"A', "NA", "true"]
    lines = ["\t".join(("2", str(9 - i), "20", name, *further)) for i, name in enumerate(names)]
    path, target = tmp_path / "f.tsv", tmp_path / "out.tsv.gz"
    last = f"10\t1{lines[0][3:]}"
    text = ["# id=1", "", *lines[:2], "", "# note", last, *lines[2:]]
    path.write_text(ending.join(text), newline="")
    index_fragments(path, target)
    assert gzip.decompress(target.read_bytes()).decode().split("\n") == [*lines[::-1], last, ""]


def test_sorted_bgzipped_fragments_are_copied(write, tmp_path):
    source, target = tmp_path / "source.tsv.gz", tmp_path / "target.tsv.gz"
    pysam.tabix_compress(str(write(name="plain.tsv")), str(source), force=True)
    index_fragments(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.with_name("target.tsv.gz.tbi").exists()
