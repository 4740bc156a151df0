"""Barcodes that share a cell: several beads in a droplet, or several sequences on a bead.

One transposition ends one fragment where the next begins. Such linked fragments lie in one nucleus,
so two barcodes that share many of them saw the same one (10x's description of cell calling; Lareau
et al. 2020). Of each such pair the barcode with more fragments stands, the other is excluded.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

logger = logging.getLogger(__name__)

# The numbers of `excluded_reason` in per_barcode_metrics.csv; 2 is low targeting.
NOT_EXCLUDED, GEL_BEAD_DOUBLET, BARCODE_MULTIPLET = 0, 1, 3
MIN_FRAGMENTS = 100  # of a barcode that is looked at
MAX_BARCODES = 15_000  # looked at, those with most fragments: memory grows with their square
MIN_FRAGMENTS_DOUBLET = 250  # of either barcode of a gel bead doublet
MAX_PILEUP = 20  # fragments at one cut: where more meet, they meet by chance
PART = 7  # bases of the first and of the last part of which 10x's barcodes are composed
DOUBLET_OF_OWN = 1.0  # a doublet shares more links than the lesser barcode has with itself ...
MULTIPLET_OF_OWN = 0.4  # ... a sequence of the same bead more than this part of them
# Chance links: cells of one type are open at the same places, so they link more than any two do.
MIN_LINKS = 5
CHANCE_FACTOR = 3.0
MAX_P_VALUE = 1e-6
LINKS_AT_ONCE = 1 << 24

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ContigFragments:
    """Fragments of one contig: start, end (0-based, half-open) and line of the barcode."""

    start: Counts
    end: Counts
    line: Counts


def find_multiplets(
    contigs: Iterable[ContigFragments], n_fragments: Counts, barcodes: NDArray[np.bytes_]
) -> NDArray[np.int8]:
    """Return the reason each barcode is excluded for, 0 for none, by line of the list.

    `n_fragments` (by line) are those of `contigs`, which should be nuclear ones; `barcodes` are the
    ATAC sequences. A gel bead doublet is a pair of which each is the other's most linked; barcodes
    of one bead share its first or last 7 bases. Links must also exceed what chance gives.
    """
    excluded = np.zeros(len(n_fragments), np.int8)
    looked_at = np.flatnonzero(n_fragments >= MIN_FRAGMENTS)
    if looked_at.size > MAX_BARCODES:
        most = np.argsort(-n_fragments[looked_at], kind="stable")[:MAX_BARCODES]
        looked_at = np.sort(looked_at[most])
    if looked_at.size < 2:
        return excluded
    links = count_links(contigs, looked_at, len(n_fragments))
    minor, major, shared = _likely_pairs(links, n_fragments[looked_at])
    own = links.diagonal()[minor]
    alike = _share_a_part(barcodes[looked_at], minor, major)
    multiplet = alike & (shared > MULTIPLET_OF_OWN * own)
    enough = n_fragments[looked_at[minor]] > MIN_FRAGMENTS_DOUBLET
    nearest = _most_linked(links)
    mutual = (nearest[minor] == major) & (nearest[major] == minor)
    doublet = enough & mutual & (shared > DOUBLET_OF_OWN * own) & ~multiplet
    excluded[looked_at[minor[doublet]]] = GEL_BEAD_DOUBLET
    excluded[looked_at[minor[multiplet]]] = BARCODE_MULTIPLET
    logger.info(
        "of %s barcodes with %d fragments and more, %d are the lesser of a gel bead doublet and %d"
        " of a barcode multiplet",
        *(f"{looked_at.size:,}", MIN_FRAGMENTS, (excluded == 1).sum(), (excluded == 3).sum()),
    )
    return excluded


def count_links(
    contigs: Iterable[ContigFragments], looked_at: Counts, n_lines: int
) -> sparse.csr_matrix:
    """Return how many linked fragments each two barcodes share, (n, n) symmetric, CSR int64.

    The diagonal is what a barcode shares with itself. `looked_at` are the lines of the n barcodes.
    """
    n = looked_at.size
    number = np.full(n_lines, -1, np.int64)
    number[looked_at] = np.arange(n)
    triangle = np.zeros(
        n * (n + 1) // 2, np.int32
    )  # of pairs (low, high): high (high + 1) / 2 + low
    for contig in contigs:
        kept = number[contig.line] >= 0
        barcode = number[contig.line[kept]]
        for left, right in _linked(contig.start[kept], contig.end[kept]):
            low, high = np.sort(np.stack([barcode[left], barcode[right]]), axis=0)
            found, times = np.unique(high * (high + 1) // 2 + low, return_counts=True)
            triangle[found] += times.astype(np.int32)
    key = np.flatnonzero(triangle)
    high = np.searchsorted(np.arange(n + 1) * np.arange(1, n + 2) // 2, key, side="right") - 1
    places = (key - high * (high + 1) // 2, high)
    upper = sparse.coo_matrix((triangle[key].astype(np.int64), places), shape=(n, n)).tocsr()
    return (upper + sparse.triu(upper, 1).T).tocsr()


def _linked(start: Counts, end: Counts) -> Iterable[tuple[Counts, Counts]]:
    """Yield rows of fragments that end, and of those that begin, at the same cut."""
    by_end = np.argsort(end, kind="stable")
    ends = end[by_end]
    low, high = (np.searchsorted(ends, start, side) for side in ("left", "right"))
    _, which, n_beginning = np.unique(start, return_inverse=True, return_counts=True)
    n_ending = high - low
    n_ending[n_ending + n_beginning[which] > MAX_PILEUP] = 0
    rows = np.flatnonzero(n_ending)
    total = np.concatenate([[0], np.cumsum(n_ending[rows])])
    cuts = np.unique([*np.searchsorted(total, range(0, total[-1], LINKS_AT_ONCE)), rows.size])
    for first, last in pairwise(cuts):
        part = rows[first:last]
        n = n_ending[part]
        within = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        yield by_end[np.repeat(low[part], n) + within], np.repeat(part, n)


def _likely_pairs(links: sparse.csr_matrix, n_fragments: Counts) -> tuple[Counts, Counts, Counts]:
    """Return lesser and greater barcode and links of the pairs that chance does not explain."""
    pairs = sparse.triu(links, 1).tocoo()
    few = pairs.data < MIN_LINKS
    first, second, shared = pairs.row[~few], pairs.col[~few], pairs.data[~few]
    lesser = n_fragments[first] <= n_fragments[second]
    minor, major = np.where(lesser, first, second), np.where(lesser, second, first)
    with_others = np.asarray(links.sum(axis=1)).ravel() - links.diagonal()
    others = n_fragments.sum() - n_fragments[minor] - n_fragments[major]
    expected = (with_others[minor] - shared) * n_fragments[major] / np.maximum(others, 1)
    chance = stats.poisson.sf(shared - 1, CHANCE_FACTOR * expected)
    likely = chance < MAX_P_VALUE
    return minor[likely].astype(np.int64), major[likely].astype(np.int64), shared[likely]


def _most_linked(links: sparse.csr_matrix) -> Counts:
    """Return the other barcode with which each has most links."""
    without_own = links - sparse.diags_array(links.diagonal(), dtype=links.dtype)
    return np.asarray(without_own.argmax(axis=1)).ravel()


def _share_a_part(barcodes: NDArray[np.bytes_], first: Counts, second: Counts) -> NDArray[np.bool_]:
    letters = barcodes.view(np.uint8).reshape(len(barcodes), -1)
    same = letters[first] == letters[second]
    share: NDArray[np.bool_] = same[:, :PART].all(axis=1) | same[:, -PART:].all(axis=1)
    return share
