"""Reading fragments: many files, what a slow reading gives, and what is said of bad ones."""

import gzip
import logging
import os

import numpy as np
import pandas as pd
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epifoundation.data import fragment_reader, gzipped
from epifoundation.data.fragment_files import index_fragments
from epifoundation.data.fragment_lines import name_table, parse_lines
from epifoundation.data.fragment_reader import FragmentChunk, read_fragments
from epifoundation.data.fragments import count_fragments_in_peaks
from epifoundation.errors import DataError

FIRST = "chr1\t100\t200\tA-1\t3\nchr1\t150\t400\tB-1\t1\n"
SECOND = "chr2\t10\t60\tA-1\t1\nchr1\t120\t130\tB-1\t1\n"
PEAKS = pd.DataFrame({"chrom": ["chr2", "chr1"], "start": [0, 120], "end": [20, 160]})


@pytest.fixture
def write(tmp_path):
    def write(text, name="f.tsv"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        return path

    return write


def rows(paths, barcodes=("A-1", "B-1"), **given):
    return [
        (chunk.chromosomes[c], int(s), int(e), int(b))
        for chunk in read_fragments(paths, barcodes, **given)
        for c, s, e, b in zip(chunk.chromosome, chunk.start, chunk.end, chunk.barcode, strict=True)
    ]


def test_many_files_are_one_pool(write):
    parts = [write(FIRST, "a.tsv.gz"), write(SECOND, "b.tsv")]
    whole = write(FIRST + SECOND, "whole.tsv")
    assert rows(parts) == rows(whole)
    chunks = list(read_fragments(parts))
    assert [chunk.first_line for chunk in chunks] == [0, 2]
    counts = count_fragments_in_peaks(parts, PEAKS, ["B-1", "A-1"], keep_absent=False)
    assert counts.X.toarray().tolist() == [[0, 2], [1, 1]]  # chr2 is in the second file only


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("kind", ["plain", "gzip", "bgzip", "members"])
def test_threads_and_compression_change_nothing(write, tmp_path, kind, threads):
    random = np.random.default_rng(0)
    lines = [
        f"chr{i % 3}\t{n}\t{n + 50}\tA-1\t1\n"
        for i, n in enumerate(random.integers(9**7, size=20_000))
    ]
    text = "".join(lines)
    path = write(text, "plain.tsv" if kind != "gzip" else "f.tsv.gz")
    if kind == "bgzip":
        pysam.tabix_compress(str(path), str(path := tmp_path / "b.tsv.gz"), force=True)
    if kind == "members":
        path = tmp_path / "members.tsv.gz"
        path.write_bytes(b"".join(gzip.compress(x.encode()) for x in (text[:777], text[777:])))
        path.write_bytes(path.read_bytes() + b"\0" * 100)  # as tapes pad them
    expected = [(x[0], int(x[1]), int(x[2]), 0) for x in (line.split("\t") for line in lines)]
    assert rows(path, ["A-1"], threads=threads) == expected


names = st.text(alphabet="abAB#-1é", min_size=1, max_size=6)
number = st.integers(0, 2**31 - 1)
fragment = st.tuples(names, number, number, names).map(
    lambda fields: "\t".join(map(str, fields)).encode()
)
noise = st.sampled_from(
    [b"", b"# a\tb", b"c\t1\t2", b"c\t-1\t2\tx", b"c\t1\t2147483648\tx", b"c\t1\t2\t", b"\t1\t2\tx",
     b"c\t1 \t2\tx", b"c\t\t2\tx", b"c\t1\t2\tx\ty", b"c", b"c\t1\t", b"c\t1\t2\tx\r", b"\r",
     b"\rc\t1\t2\tx", b"c\xff\t1\t2\tx", b"c\t1\t2\tx\xff", b"c\t1\t2\tx\0y", b"c\0\t1\t2\tx"]
)  # fmt: skip
any_line = st.binary(max_size=12).map(lambda line: line.replace(b"\n", b""))


@st.composite
def damaged(draw):
    """A fragment of which one byte is another."""
    line = bytearray(draw(fragment))
    line[draw(st.integers(0, len(line) - 1))] = draw(st.integers(0, 255))
    return bytes(line).replace(b"\n", b"")


def split_line(line):
    """Return a fragment's chromosome, start, end and barcode; None if the line is none."""
    fields = line.removesuffix(b"\r").split(b"\t")
    if len(fields) != 4 or not all(fields) or not all(x.isdigit() for x in fields[1:3]):
        return None
    start, end = map(int, fields[1:3])
    if max(start, end) >= 2**31 or any(min(name) < 14 for name in (fields[0], fields[3])):
        return None
    try:
        return fields[0].decode(), start, end, fields[3]
    except UnicodeDecodeError:
        return None


@settings(deadline=None, max_examples=400)
@given(
    st.lists(st.one_of(fragment, noise, damaged(), any_line), max_size=12),
    st.lists(names, unique=True),
)
def test_lines_are_parsed_as_splitting_them_does(lines, barcodes):
    text = np.frombuffer(b"".join(line + b"\n" for line in lines), dtype=np.uint8)
    given_lines = [x for x in lines if x not in (b"", b"\r") and not x.startswith(b"#")]
    position = {name.encode(): i for i, name in enumerate(barcodes)}
    split = [split_line(line) for line in given_lines]
    expected = [(*parts[:3], position.get(parts[3], -1)) for parts in split if parts]
    chromosomes, found, n_bad, n_lines, begin = [], [], 0, 0, 0
    table = name_table(barcodes)
    for _ in range(2 * len(lines)):  # a line is read twice at most
        if begin == len(text):
            break
        part = parse_lines(text, begin, 4, name_table(chromosomes), table)
        columns = (part.chromosome, part.start, part.end, part.barcode)
        found += [(chromosomes[c], s, e, b) for c, s, e, b in zip(*map(list, columns), strict=True)]
        chromosomes += [part.unknown] if part.unknown is not None else []
        n_bad += part.n_bad
        n_lines += part.n_lines
        begin = part.end_byte
    assert begin == len(text)
    assert n_lines == len(lines)
    assert found == expected
    assert n_bad == split.count(None)


def test_many_scaffolds_are_named_together(write, monkeypatch):
    tables = []
    monkeypatch.setattr(
        fragment_reader, "name_table", lambda names: tables.append(1) or name_table(names)
    )
    names = [f"scaffold_{i % 7000}" for i in range(9000)]
    text = "".join(f"{name}\t{i}\t{i + 9}\tA-1\n# x\n\n" for i, name in enumerate(names))
    (chunk,) = read_fragments(write(text))
    assert len(tables) < 30  # one for each name would take time by the square of their number
    assert chunk.chromosomes == tuple(names[:7000])
    assert [chunk.chromosomes[code] for code in chunk.chromosome] == names
    assert chunk.start.tolist() == list(range(9000))


@pytest.mark.parametrize("byte", [0xFF, 0x00, 0x0B])
@pytest.mark.parametrize("column", [0, 3])
def test_a_damaged_name_is_a_bad_line(tmp_path, byte, column):
    fields = ["chr1", "500", "900", "A-1", "3"]
    damaged = [field.encode() for field in fields]
    damaged[column] += bytes([byte])
    path = tmp_path / "f.tsv"
    path.write_bytes(FIRST.encode() + b"\t".join(damaged) + b"\n" + SECOND.encode())
    if (byte, column) == (0xFF, 3):  # a barcode that nobody asked for
        assert [row[3] for row in rows(path)] == [0, 1, -1, 0, 1]
        return
    with pytest.raises(DataError, match=r"line 3 is not a fragment \(1 such"):
        rows(path)


@given(st.lists(st.integers(0, 3), max_size=30))
def test_parts_of_chromosomes_keep_the_order_within(codes):
    code, start = np.array(codes, dtype=np.int32), np.arange(len(codes))
    chunk = FragmentChunk(0, ("d", "c", "b", "a"), code, start, start + 1, start)
    found = [(name, part.start.tolist()) for name, part in chunk.by_chromosome()]
    assert found == [
        (chunk.chromosomes[c], np.flatnonzero(code == c).tolist()) for c in sorted(set(codes))
    ]


def test_the_same_file_twice_is_refused(write):
    one, copy = write(FIRST, "a.tsv"), write(FIRST, "b.tsv")
    with pytest.raises(DataError, match=r"a\.tsv is given twice: each"):
        rows([one, one.parent / "." / "a.tsv"])
    with pytest.raises(DataError, match=r"b\.tsv is given twice \(it equals .*a\.tsv"):
        rows([one, copy])
    with pytest.raises(DataError, match="no fragments file is given"):
        rows([])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"BAM\x01\0\0", "but a BAM file"),
        (b"\x89HDF\r\n\x1a\n", "but an HDF5 file"),
        (b"%%MatrixMarket matrix\n", "but a matrix"),
        (b"chr1 5 9 A-1\n", "separated by tabs"),
        (b"# only\n# comments\n", "holds no fragment"),
        (FIRST.encode() + b"chr1\t1e+05\t100100\tA-1\t1\n", r"line 3 is not a fragment .*1e\+05"),
        (b"# x\n" + FIRST.encode() + b"chr1\t5\t9\tA-1\n", r"line 4 .*\(1 such lines"),
    ],
)
def test_other_files_are_named(tmp_path, content, message):
    path = tmp_path / "f.tsv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        rows(path)


@pytest.mark.parametrize("read_bytes", [1, 40, 1000])
def test_members_after_padding_are_read(tmp_path, monkeypatch, read_bytes):
    monkeypatch.setattr(gzipped, "READ_BYTES", read_bytes)
    path = tmp_path / "f.tsv.gz"
    members = gzip.compress(FIRST.encode()), gzip.compress(SECOND.encode())
    path.write_bytes(members[0] + b"\0" * 3000 + members[1] + b"\0" * 3000)
    assert b"".join(gzipped.text_blocks(path, 100)) == (FIRST + SECOND).encode()
    assert len(rows(path)) == 4


@pytest.mark.parametrize("n_lost", [1, 4, 9, 2000])
@pytest.mark.parametrize("threads", [1, 2])
def test_plain_gzip_that_is_cut_off_is_refused(tmp_path, n_lost, threads):
    random = np.random.default_rng(1)
    text = "".join(f"chr1\t{n}\t{n + 9}\tA-1\t1\n" for n in random.integers(9**7, size=3000))
    path = tmp_path / "f.tsv.gz"
    path.write_bytes(gzip.compress(text.encode())[:-n_lost])
    with pytest.raises(DataError, match=r"f\.tsv\.gz is cut off or damaged"):
        rows(path, ["A-1"], threads=threads)


def test_damage_within_a_bgzipped_file_is_refused(write, tmp_path):
    path = tmp_path / "b.tsv.gz"
    pysam.tabix_compress(str(write(FIRST * 9000)), str(path), force=True)
    content = bytearray(path.read_bytes())
    for i in (len(content) // 2, 16):  # data; the size of the first block
        damaged = bytearray(content)
        damaged[i] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cut off or damaged"):
            rows(path)


def test_what_cannot_be_counted_is_not_imported(write, tmp_path):
    cut = tmp_path / "cut.tsv.gz"
    cut.write_bytes(write(FIRST * 500, "whole.tsv.gz").read_bytes()[:-9])
    bed = tmp_path / "bed.gz"
    pysam.tabix_compress(str(write("chr1\t1\t5\n", "three.bed")), str(bed), force=True)
    for path, message in ((cut, "cut off or damaged"), (bed, "is not a fragments file")):
        with pytest.raises(DataError, match=message):
            index_fragments(path, tmp_path / "out" / "f.tsv.gz")
    assert not (tmp_path / "out" / "f.tsv.gz").exists()


def test_barcodes_that_are_absent_are_counted(write, caplog):
    assert len(rows(write(FIRST), ["A-1", "C-1", "D-1"])) == 2
    assert "2 of 3 barcodes have no fragment (first: C-1)" in caplog.text
    caplog.clear()
    rows([write(FIRST, "a.tsv"), write(SECOND.replace("-1", "-2"), "b.tsv")])
    assert "b.tsv: none of the 2 barcodes asked for is in its 2 fragments" in caplog.text
    assert "(asked for A-1, the file has A-2)" in caplog.text


def test_fragments_beyond_the_chromosome(write, caplog):
    path = write(FIRST)
    assert len(rows(path, chromosome_sizes={"chr1": 400})) == 2
    assert not caplog.records
    rows(path, chromosome_sizes={"chr1": 399})
    assert (
        "1 fragments reach beyond the end of their chromosome (first: chr1:150-400" in caplog.text
    )
    with pytest.raises(
        DataError, match=r"1 or more fragments start beyond .*chr1:150-400, chr1 has"
    ):
        rows(path, chromosome_sizes={"chr1": 150})
    path = write(FIRST + SECOND.splitlines()[0] + "\n")
    rows(path, chromosome_sizes={"chr2": 150, "1": 400})
    assert "2 fragments are on chromosomes without a size (first: chr1). The other" in caplog.text
    with pytest.raises(DataError, match=r"none of its 3 .*chr1, sizes .* 1\)\. The other"):
        rows(path, chromosome_sizes={"1": 400})
    with pytest.raises(DataError, match=r"none of its 3 fragments .*chr1, sizes of none\)\. Are"):
        rows(path, chromosome_sizes={})


def test_an_index_that_does_not_fit_is_named(write, tmp_path, caplog):
    path = tmp_path / "b.tsv.gz"
    pysam.tabix_compress(str(write(FIRST)), str(path), force=True)
    pysam.tabix_index(str(path), preset="bed", keep_original=True)
    index = tmp_path / "b.tsv.gz.tbi"
    with caplog.at_level(logging.WARNING):
        rows(path)
        assert not caplog.records
        os.utime(index, (0, 0))
        rows(path)
        assert "b.tsv.gz.tbi is older than b.tsv.gz. It was not used" in caplog.text
        pysam.tabix_compress(str(write(FIRST.replace("chr1", "chr3"))), str(path), force=True)
        rows(path)
        assert "2 chromosomes are in one of them only (first: chr1)" in caplog.text
        index.write_text("no index")
        rows(path)
        assert "cannot be read as an index" in caplog.text


def test_chromosomes_named_otherwise(write, caplog):
    text = FIRST + "2\t10\t60\tA-1\t1\n"
    counts = count_fragments_in_peaks(write(text), PEAKS, ["A-1"], keep_absent=True)
    assert counts.X.toarray().tolist() == [[0, 1]]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "1 of 2 regions are on 1 chromosomes without fragments (first: chr2)" in caplog.text
    assert "The other file calls it 2" in caplog.text
    ensembl = write(FIRST.replace("chr", ""), "e.tsv")
    with pytest.raises(DataError, match=r"none of the 2 regions .* fragments on 1\)\. The other"):
        count_fragments_in_peaks(ensembl, PEAKS, ["A-1"], keep_absent=True)


def test_an_empty_matrix_is_an_error(write):
    far = PEAKS.assign(start=[10_000, 20_000], end=30_000, chrom="chr1")
    message = (
        r"matrix is empty: no fragment of the 1 barcodes .* \(the first fragment is chr1:\d+-\d+"
    )
    message += ", the first region chr1:10000-30000"
    with pytest.raises(DataError, match=message):
        count_fragments_in_peaks(write(FIRST), far, ["A-1"], keep_absent=True)
