"""Where barcodes lie, which are corrected, and to which."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from epifoundation.align.atac import corrected_pairs
from epifoundation.align.barcodes import (
    LAYOUTS,
    Layout,
    Whitelist,
    check_gex_barcodes,
    correct,
    count_exact,
    detect_layout,
    encode,
    match_share,
    packaged_whitelist,
    read_whitelists,
)
from epifoundation.align.fastq import Lane, read_blocks, read_in_step
from epifoundation.align.sam import Tally
from epifoundation.errors import AlignError

FIRST = Layout(last=False, reverse=False)
COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")


@pytest.fixture(scope="module")
def whitelist(tmp_path_factory: pytest.TempPathFactory) -> Whitelist:
    rng = np.random.default_rng(0)
    words = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, (2_000, 16))]
    path = tmp_path_factory.mktemp("list") / "list.txt"
    path.write_bytes(b"\n".join(word.tobytes() for word in words))
    return Whitelist.read(path)


@pytest.fixture(scope="module")
def real_list() -> Whitelist:
    """10x's list of scATAC v1, whose reads lie among the shared data."""
    return Whitelist.read(packaged_whitelist("atac").with_name("10x_atac_whitelist.txt.gz"))


def slow_correct(read: bytes, quality: list[int], words: dict[bytes, int], counts) -> int:
    """Return what `correct` should, one read at a time."""
    if read in words:
        return words[read]
    weights = {}
    for place in range(16):
        for base in b"ACGT":
            other = read[:place] + bytes([base]) + read[place + 1 :]
            if other != read and other in words:
                line = words[other]
                weights[line] = (counts[line] + 1) * 10 ** (-quality[place] / 10)
    best = max(weights, key=lambda line: weights[line], default=-1)
    return best if weights and weights[best] >= 0.9 * sum(weights.values()) else -1


def test_correction_agrees_with_the_plain_one() -> None:
    rng = np.random.default_rng(1)
    # a list so dense that many reads have several neighbours
    few = np.array([list(b"AAAAAAAAAAAAAAAA")] * 400, np.uint8)
    few[:, :6] = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, (400, 6))]
    words = list(dict.fromkeys(row.tobytes() for row in few))
    whitelist = Whitelist("dense", np.array(words, "S16"))
    counts = rng.integers(0, 2_000, len(words)) ** 2
    reads = [bytearray(words[i]) for i in rng.integers(0, len(words), 3_000)]
    for read in reads:
        for place in rng.integers(0, 16, rng.integers(0, 3)):
            read[place] = b"ACGTN"[rng.integers(0, 5)]
    quality = rng.integers(2, 38, (len(reads), 16)).astype(np.uint8)
    found = correct(encode(b"".join(reads)), quality, whitelist, counts)
    index = {word: line for line, word in enumerate(words)}
    expected = [
        slow_correct(bytes(read), quality[i].tolist(), index, counts)
        for i, read in enumerate(reads)
    ]
    assert found.tolist() == expected
    assert 100 < (found < 0).sum() < 2_900


@pytest.mark.parametrize(
    ("change", "corrected"),
    [
        pytest.param(lambda w: w, True, id="as it stands"),
        pytest.param(lambda w: w[:3] + b"N" + w[4:], True, id="one unread base"),
        pytest.param(lambda w: b"NN" + w[2:], False, id="two unread bases"),
        pytest.param(lambda w: b"N" + w[1:15].translate(COMPLEMENT) + w[15:], False, id="foreign"),
    ],
)
def test_corrects_one_mismatch_only(whitelist: Whitelist, change, corrected: bool) -> None:
    word = bytes(whitelist.barcodes[7])
    quality = np.full((1, 16), 30, np.uint8)
    line = correct(encode(change(word)), quality, whitelist, np.zeros(len(whitelist), np.int64))
    assert line.tolist() == [7 if corrected else -1]


def test_abundance_and_quality_decide_between_neighbours() -> None:
    words = [b"AAAAAAAAAAAAAAAA", b"CAAAAAAAAAAAAAAC"]
    whitelist = Whitelist("two", np.array(words, "S16"))
    read = encode(b"AAAAAAAAAAAAAAAC")
    even = np.full((1, 16), 30, np.uint8)
    assert correct(read, even, whitelist, np.array([0, 0]))[0] == -1
    assert correct(read, even, whitelist, np.array([99, 0]))[0] == 0
    doubtful_first = even.copy()
    doubtful_first[0, 0] = 2
    assert correct(read, doubtful_first, whitelist, np.array([0, 0]))[0] == 1


def write_reads(path: Path, reads: list[bytes]) -> Path:
    with gzip.open(path, "wb") as handle:
        handle.writelines(b"@r%d\n%s\n+\n%s\n" % (i, r, b"F" * len(r)) for i, r in enumerate(reads))
    return path


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("spacer", [b"CAGACGCG", b""], ids=["spacer", "trimmed"])
def test_detects_layout(whitelist: Whitelist, layout: Layout, spacer: bytes, tmp_path) -> None:
    reads = []
    for word in map(bytes, whitelist.barcodes[:500]):
        word = word.translate(COMPLEMENT)[::-1] if layout.reverse else word
        reads.append(spacer + word if layout.last else word + spacer)
    found = detect_layout(write_reads(tmp_path / "R2.fastq.gz", reads), whitelist)
    assert found == (layout if spacer else Layout(last=False, reverse=layout.reverse))


def test_list_that_fits_no_barcode(whitelist: Whitelist, tmp_path: Path) -> None:
    path = write_reads(tmp_path / "R2.fastq.gz", [b"ACGT" * 6] * 100)
    with pytest.raises(AlignError, match=r"R2.fastq.gz: no barcode layout fits .*100 reads match"):
        detect_layout(path, whitelist)
    with pytest.raises(AlignError, match=r"R2.fastq.gz: 0.0% of 100 reads start with a barcode of"):
        check_gex_barcodes(path, whitelist)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "holds 0 barcodes", id="empty"),
        pytest.param("ACGT\n", "1 of other length", id="short"),
        pytest.param("A" * 16 + "\n" + "A" * 16, "1 repeat", id="repeated"),
        pytest.param("N" * 16, "1 barcodes have other letters", id="letters"),
    ],
)
def test_unusable_list(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(AlignError, match=message):
        Whitelist.read(path)


def test_missing_list(tmp_path: Path) -> None:
    with pytest.raises(AlignError, match="cannot be read"):
        Whitelist.read(tmp_path / "list.txt.gz")


def test_lists_that_do_not_pair(whitelist: Whitelist, tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("A" * 16)
    with pytest.raises(AlignError, match="2,000 barcodes and .*short.txt 1; they must pair"):
        read_whitelists(whitelist.path, str(short))


def test_packaged_lists_pair_by_line() -> None:
    gex, atac = read_whitelists(None, None)
    assert len(gex) == len(atac) == 736_320
    line = int(np.flatnonzero(gex.barcodes == b"AAACAGCCAAACAACA")[0])
    assert atac.barcodes[line] == b"ACAGCGGGTGTGTTAC"  # 10x's own example
    lines = atac.lookup(np.array([0], np.uint32))
    assert lines.tolist() == [-1]


def test_real_barcodes_match_10x_list(shared: Path, real_list: Whitelist) -> None:
    reads = shared / "data/scatac_fastq/test-10X_R2.fastq.gz"
    whitelist = real_list
    lines = [line for block in read_blocks(reads) for line in block[1::4]]
    assert len(lines) == 10_000
    assert match_share(lines, FIRST, whitelist) == pytest.approx(0.906, abs=0.001)
    assert detect_layout(reads, whitelist) == FIRST


def test_real_barcodes_are_corrected(shared: Path, real_list: Whitelist) -> None:
    folder = shared / "data/scatac_fastq"
    files = {read: folder / f"test-10X_{read}.fastq.gz" for read in ("R1", "R2", "R3")}
    whitelist = real_list
    lane = Lane("L001", files)
    layouts = [detect_layout(files["R2"], whitelist, (files["R1"], files["R3"]))]
    counts, n_reads = count_exact([lane], layouts, whitelist)
    assert n_reads == 10_000
    assert counts.sum() == 9_065
    tally = Tally(len(whitelist))
    text = b"".join(corrected_pairs([lane], layouts, whitelist, counts, tally))
    assert tally.n_read == 10_000
    assert 9_600 < tally.raw.sum() < 9_800
    lines = text.splitlines()
    assert len(lines) == 8 * tally.raw.sum()
    names = np.array([int(name[1:]) for name in lines[::4]])
    assert np.array_equal(names[::2], names[1::2])
    assert np.array_equal(np.bincount(names[::2], minlength=len(whitelist)), tally.raw)
    # each is at one letter from what was read, those without error at none
    reads = {bases: head for head, bases in zip(lines[::4], lines[1::4], strict=True)}
    apart = []
    for firsts, barcodes, _ in read_in_step(list(files.values())):
        for first, barcode in zip(firsts[1::4], barcodes[1::4], strict=True):
            if head := reads.get(first.strip()):
                kept = whitelist.barcodes[int(head[1:])]
                apart.append(sum(a != b for a, b in zip(kept, barcode.strip(), strict=True)))
    assert np.mean(np.array(apart) <= 1) > 0.99  # a few first reads occur twice


def test_swapped_real_reads_say_so(shared: Path, real_list: Whitelist) -> None:
    reads = shared / "data/scatac_fastq/test-10X_R2.fastq.gz"
    genomic = shared / "data/scatac_fastq/test-10X_R1.fastq.gz"
    whitelist = real_list
    with pytest.raises(AlignError, match=r"test-10X_R2.fastq.gz does hold barcodes \(91%\): the"):
        detect_layout(genomic, whitelist, (reads,))
