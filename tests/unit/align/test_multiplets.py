"""Links between barcodes are counted as defined; only those count that mean a shared nucleus."""

import numpy as np
import pytest

from epifoundation.align import multiplets
from epifoundation.align.multiplets import ContigFragments, count_links, find_multiplets


def random_contig(rng: np.random.Generator, n: int, n_lines: int, size: int) -> ContigFragments:
    start = rng.integers(0, size, n)
    return ContigFragments(start, start + rng.integers(3, 12, n), rng.integers(0, n_lines, n))


def plain_links(contigs: list[ContigFragments], looked_at: np.ndarray) -> np.ndarray:
    """Return what `count_links` should, by comparing every two fragments."""
    place = {int(line): i for i, line in enumerate(looked_at)}
    links = np.zeros((looked_at.size,) * 2, int)
    for contig in contigs:
        every = zip(contig.start, contig.end, contig.line, strict=True)
        rows = [row for row in every if row[2] in place]
        for cut in {row[1] for row in rows} & {row[0] for row in rows}:
            ending = [place[line] for _, end, line in rows if end == cut]
            beginning = [place[line] for start, _, line in rows if start == cut]
            if len(ending) + len(beginning) > multiplets.MAX_PILEUP:
                continue
            for one in ending:
                for other in beginning:
                    links[one, other] += 1
                    links[other, one] += one != other
    return links


@pytest.mark.parametrize("at_once", [7, 1 << 24])
def test_links_are_those_of_every_two_fragments(monkeypatch, at_once: int) -> None:
    monkeypatch.setattr(multiplets, "LINKS_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    contigs = [random_contig(rng, 400, 9, size) for size in (300, 60, 25)]
    looked_at = np.array([0, 2, 3, 5, 8])
    found = count_links(contigs, looked_at, 9)
    expected = plain_links(contigs, looked_at)
    assert np.array_equal(found.toarray(), expected)
    assert expected.sum() > 500


def shared_nuclei(rng: np.random.Generator, sizes: list[int], chance: int) -> ContigFragments:
    """Return chains of fragments over 2 Mb, dealt to barcodes, and further ones of each barcode."""
    line = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    length = rng.integers(50, 300, line.size)
    start = rng.integers(2_000_000) + np.cumsum(length) - length
    start[::10] += 1  # ends a chain
    more = random_contig(rng, chance * len(sizes), len(sizes), 2_000_000)
    return ContigFragments(
        np.concatenate([start, more.start]),
        np.concatenate([start + length, more.end]),
        np.concatenate([line, more.line]),
    )


def letters(*words: str) -> np.ndarray:
    return np.array([word.encode() for word in words], "S16")


def find(contig: ContigFragments, barcodes: np.ndarray) -> list[int]:
    n_fragments = np.bincount(contig.line, minlength=len(barcodes))
    return find_multiplets([contig], n_fragments, barcodes).tolist()


def test_the_lesser_of_a_pair_is_excluded_for_its_reason() -> None:
    rng = np.random.default_rng(1)
    apart = letters("ACGTACGTACGTACGT", "TTGCATGCAATTGGCC")
    assert find(shared_nuclei(rng, [400, 300], 20), apart) == [0, 1]
    assert find(shared_nuclei(rng, [300, 400], 20), apart) == [1, 0]
    alike = letters("ACGTACGTACGTACGT", "ACGTACGCAATTGGCC")
    assert find(shared_nuclei(rng, [400, 150], 20), alike) == [0, 3]
    alike = letters("GGGTACTTACGTACGT", "ACGTACGCACGTACGT")
    assert find(shared_nuclei(rng, [400, 150], 20), alike) == [0, 3]
    few = shared_nuclei(rng, [400, 150], 0)  # of two beads, too few to tell
    assert find(few, apart) == [0, 0]


def test_chance_links_exclude_nothing() -> None:
    """Cells whose fragments all lie in the same few places link often, none with one other."""
    rng = np.random.default_rng(2)
    sites = rng.integers(0, 1_000_000, 60)
    site, line = rng.choice(sites, 9_000), rng.integers(0, 12, 9_000)
    start = site + rng.integers(0, 400, 9_000)
    contig = ContigFragments(start, start + rng.integers(40, 200, 9_000), line)
    barcodes = letters(*(f"{'ACGT'[i % 4]}{'ACGT'[i // 4]}GTACGTACGTACGT" for i in range(12)))
    links = count_links([contig], np.arange(12), 12)
    assert np.median(links.data) > 20
    assert find(contig, barcodes) == [0] * 12


def test_only_the_largest_barcodes_are_looked_at(monkeypatch) -> None:
    monkeypatch.setattr(multiplets, "MAX_BARCODES", 2)
    rng = np.random.default_rng(3)
    pair = shared_nuclei(rng, [400, 300, 120], 0)
    barcodes = letters("ACGTACGTACGTACGT", "TTGCATGCAATTGGCC", "ACGTACGCAATTGGCA")
    assert find(pair, barcodes) == [0, 1, 0]
