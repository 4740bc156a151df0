"""Cell barcodes: the list of allowed ones, where a read holds its own, and its correction.

A barcode of 16 bases is kept as an integer, two bits a base (A 0, C 1, G 2, T 3), the first base in
the highest bits; a corrected one as its line in the list, which pairs ATAC with GEX barcodes.
"""

import gzip
import importlib.resources
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from epifoundation.align.fastq import RECORDS_PER_BLOCK, Lane, read_blocks
from epifoundation.errors import AlignError
from epifoundation.files import with_progress

logger = logging.getLogger(__name__)

LENGTH = 16
MAX_BARCODES = 1 << 20  # a line fits 20 bits of a fragment's sort key (atac.py)
DETECTION_READS = 10_000
MIN_MATCH = 0.6  # the right layout matches at least this share of reads ...
MIN_RATIO = 5.0  # ... and this many times the share of the second best
MIN_GEX_MATCH = 0.2  # one layout only: a list of another kit matches a few per mille
ATAC_ADVICE = "Check align.whitelist_atac and that R2 is the barcode read."
GEX_ADVICE = "Check align.whitelist_gex and that R1 is the barcode read."
MIN_POSTERIOR = 0.9  # Cell Ranger ARC's threshold of a correction
FILTER_BITS = 24
PHRED_OFFSET = 33

_CODE = np.full(256, 4, np.uint8)
_CODE[np.frombuffer(b"ACGT", np.uint8)] = np.arange(4, dtype=np.uint8)
_SHIFTS = np.arange(2 * (LENGTH - 1), -1, -2, dtype=np.uint32)

Codes = NDArray[np.uint32]
Lines = NDArray[np.int32]


@dataclass(frozen=True)
class Whitelist:
    """Allowed barcodes, in the order of their file."""

    path: str
    barcodes: NDArray[np.bytes_]  # (n_barcodes,) S16

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read one barcode per line; gzipped or not."""
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as handle:
                words = handle.read().split()
        except (OSError, EOFError) as error:
            message = (
                f"{path}: the list of barcodes cannot be read ({error}). Check align.whitelist_*."
            )
            raise AlignError(message) from error
        wrong = [word for word in words if len(word) != LENGTH]
        if wrong or not 0 < len(words) <= MAX_BARCODES:
            example = f", {len(wrong):,} of other length (first: {wrong[0]!r})" if wrong else ""
            message = (
                f"{path} holds {len(words):,} barcodes{example}; expected 1 to {MAX_BARCODES:,}"
                f" of {LENGTH} bases, one a line. Check align.whitelist_*."
            )
            raise AlignError(message)
        barcodes = np.array(words, f"S{LENGTH}")
        bases = encode(barcodes.tobytes())
        odd = np.flatnonzero((bases == 4).any(axis=1))
        n_repeated = barcodes.size - np.unique(pack(bases)).size
        if odd.size or n_repeated:
            example = f" (first: {words[odd[0]].decode()!r})" if odd.size else ""
            message = (
                f"{path}: {odd.size:,} barcodes have other letters than A, C, G, T{example} and"
                f" {n_repeated:,} repeat; each line must be one barcode. Check align.whitelist_*."
            )
            raise AlignError(message)
        return cls(str(path), barcodes)

    def __len__(self) -> int:
        return self.barcodes.size

    @cached_property
    def _order(self) -> tuple[Codes, Lines]:
        codes = pack(encode(self.barcodes.tobytes()))
        order = np.argsort(codes).astype(np.int32)
        return codes[order], order

    @cached_property
    def _filter(self) -> NDArray[np.bool_]:
        present = np.zeros(1 << FILTER_BITS, np.bool_)
        present[_hash(self._order[0])] = True
        return present

    def lookup(self, codes: Codes) -> Lines:
        """Return the line of each barcode, -1 where it is not in the list."""
        ordered, line_of = self._order
        lines = np.full(codes.shape, -1, np.int32)
        candidates = np.flatnonzero(self._filter[_hash(codes)])  # spares most binary searches
        wanted = codes.ravel()[candidates]
        place = np.minimum(np.searchsorted(ordered, wanted), ordered.size - 1)
        found = ordered[place] == wanted
        lines.ravel()[candidates[found]] = line_of[place[found]]
        return lines


def _hash(codes: Codes) -> Codes:
    """Return `FILTER_BITS` well mixed bits of each code (Fibonacci hashing)."""
    return (codes * np.uint32(2654435761)) >> np.uint32(32 - FILTER_BITS)


def packaged_whitelist(library: Literal["gex", "atac"]) -> Path:
    """Return the path of 10x's ARC list that the package ngs-tools ships (736,320 barcodes)."""
    folder = importlib.resources.files("ngs_tools") / "chemistry" / "whitelists"
    return Path(str(folder / f"10x_multiome_{library}_whitelist.txt.gz"))


def read_whitelists(gex: str | None, atac: str | None) -> tuple[Whitelist, Whitelist]:
    """Return the GEX and the ATAC list, line i of one paired with line i of the other."""
    lists = (
        Whitelist.read(Path(gex) if gex else packaged_whitelist("gex")),
        Whitelist.read(Path(atac) if atac else packaged_whitelist("atac")),
    )
    if len(lists[0]) != len(lists[1]):
        message = (
            f"{lists[0].path} has {len(lists[0]):,} barcodes and {lists[1].path}"
            f" {len(lists[1]):,}; they must pair line by line. Set both align.whitelist_* or none."
        )
        raise AlignError(message)
    return lists


@dataclass(frozen=True)
class Layout:
    """Where the barcode lies in its read, and whether it is reverse-complemented."""

    last: bool
    reverse: bool

    def __str__(self) -> str:
        return f"{'last' if self.last else 'first'} 16, {'reverse' if self.reverse else 'forward'}"

    def cut(self, lines: Sequence[bytes]) -> bytes:
        """Return the 16 letters of every line (newline included), end to end, as they are read."""
        parts = [s[-1 - LENGTH : -1] for s in lines] if self.last else [s[:LENGTH] for s in lines]
        joined = b"".join(parts)
        if len(joined) < LENGTH * len(parts):  # some reads are shorter than a barcode
            joined = b"".join(part.ljust(LENGTH, b"!") for part in parts)
        return joined

    def bases(self, lines: Sequence[bytes]) -> NDArray[np.uint8]:
        """Return barcodes (n_reads, 16) as 0-3, 4 for any other letter, in the list's direction."""
        bases = encode(self.cut(lines))
        return np.where(bases < 4, 3 - bases, 4)[:, ::-1] if self.reverse else bases

    def qualities(self, lines: Sequence[bytes]) -> NDArray[np.uint8]:
        """Return Phred qualities (n_reads, 16), in the list's direction."""
        letters = np.frombuffer(self.cut(lines), np.uint8).reshape(-1, LENGTH)
        qualities = np.maximum(letters, PHRED_OFFSET) - np.uint8(PHRED_OFFSET)
        return qualities[:, ::-1] if self.reverse else qualities


GEX_LAYOUT = Layout(last=False, reverse=False)
LAYOUTS = tuple(Layout(last, reverse) for last in (False, True) for reverse in (False, True))


def encode(letters: bytes) -> NDArray[np.uint8]:
    """Return (n, 16) numbers 0-3, 4 for any letter but A, C, G, T."""
    return _CODE[np.frombuffer(letters, np.uint8)].reshape(-1, LENGTH)


def pack(bases: NDArray[np.uint8]) -> Codes:
    """Return (n,) codes of (n, 16) bases; a base of 4 counts as 0."""
    codes = np.zeros(len(bases), np.uint32)
    for position in range(LENGTH):
        codes = (codes << np.uint32(2)) | (bases[:, position] & np.uint8(3))
    return codes


def match_share(lines: Sequence[bytes], layout: Layout, whitelist: Whitelist) -> float:
    """Return the share of reads whose barcode is in the list as it stands."""
    bases = layout.bases(lines)
    found = (whitelist.lookup(pack(bases)) >= 0) & (bases < 4).all(axis=1)
    return float(found.mean())


def detect_layout(path: Path, whitelist: Whitelist, others: Sequence[Path] = ()) -> Layout:
    """Return the layout of the barcode reads in `path`, judged by its first 10,000 reads.

    `others` are the other files of the lane, looked at to say what is wrong.
    """
    lines = next(read_blocks(path, DETECTION_READS))[1::4]
    trimmed = all(len(line) == LENGTH + 1 for line in lines)
    layouts = [layout for layout in LAYOUTS if not (trimmed and layout.last)]
    shares = {layout: match_share(lines, layout, whitelist) for layout in layouts}
    best, second = sorted(shares, key=lambda layout: -shares[layout])[:2]
    if shares[best] < MIN_MATCH or shares[best] < MIN_RATIO * shares[second]:
        listed = ", ".join(f"{layout} {share:.1%}" for layout, share in shares.items())
        message = (
            f"{path}: no barcode layout fits {whitelist.path}: of {len(lines):,} reads match"
            f" {listed}; needed is {MIN_MATCH:.0%} and {MIN_RATIO:.0f} times the second."
            f" {_advice(others, LAYOUTS, whitelist) or ATAC_ADVICE}"
        )
        raise AlignError(message)
    logger.info("%s: barcode is %s (%.1f %% match)", path.name, best, 100 * shares[best])
    return best


def check_gex_barcodes(path: Path, whitelist: Whitelist, others: Sequence[Path] = ()) -> None:
    """Raise AlignError unless the first reads of `path` start with barcodes of the list."""
    lines = next(read_blocks(path, DETECTION_READS))[1::4]
    share = match_share(lines, GEX_LAYOUT, whitelist)
    if share < MIN_GEX_MATCH:
        message = (
            f"{path}: {share:.1%} of {len(lines):,} reads start with a barcode of"
            f" {whitelist.path}; at least {MIN_GEX_MATCH:.0%} should."
            f" {_advice(others, (GEX_LAYOUT,), whitelist) or GEX_ADVICE}"
        )
        raise AlignError(message)
    logger.info("%s: %.1f %% of barcodes match as they stand", path.name, 100 * share)


def _advice(others: Sequence[Path], layouts: Sequence[Layout], whitelist: Whitelist) -> str:
    """Return which other file of the lane holds the barcodes, nothing if none does."""
    for path in others:
        lines = next(read_blocks(path, DETECTION_READS))[1::4]
        shares = [match_share(lines, layout, whitelist) for layout in layouts]
        if max(shares) >= MIN_MATCH:
            return (
                f"{path.name} does hold barcodes ({max(shares):.0%}): the read roles are swapped in"
                " the manifest."
            )
    return ""


def count_exact(
    lanes: Sequence[Lane], layouts: Sequence[Layout], whitelist: Whitelist
) -> tuple[NDArray[np.int64], int]:
    """Return how often each barcode of the list is read without error, and the number of reads."""
    counts = np.zeros(len(whitelist), np.int64)
    n_reads = 0
    for lane, layout in zip(lanes, layouts, strict=True):
        blocks = read_blocks(lane.files["R2"])
        what = f"lane {lane.name}, blocks of {RECORDS_PER_BLOCK:,} barcodes counted"
        for block in with_progress(blocks, what, logger=logger):
            bases = layout.bases(block[1::4])
            lines = whitelist.lookup(pack(bases))
            lines = lines[(lines >= 0) & (bases < 4).all(axis=1)]
            counts += np.bincount(lines, minlength=counts.size)
            n_reads += len(bases)
    logger.info("barcodes: %s of %s reads match exactly", f"{counts.sum():,}", f"{n_reads:,}")
    return counts, n_reads


def correct(
    bases: NDArray[np.uint8],
    qualities: NDArray[np.uint8],
    whitelist: Whitelist,
    counts: NDArray[np.int64],
) -> Lines:
    """Return the line of the barcode of each read, -1 where none can be told.

    A barcode of the list stands. Any other is replaced by the neighbour at one mismatch whose
    posterior reaches 0.9, with the abundance `counts` + 1 as prior and the probability of a base
    error, from its quality, as likelihood (10x's description of Cell Ranger ARC's correction).
    """
    codes = pack(bases)
    n_unknown = (bases == 4).sum(axis=1)
    lines = np.where(n_unknown == 0, whitelist.lookup(codes), -1).astype(np.int32)
    failed = np.flatnonzero((lines < 0) & (n_unknown <= 1))
    if failed.size:
        lines[failed] = _most_likely(
            codes[failed], bases[failed], qualities[failed], whitelist, counts
        )
    return lines


def _most_likely(
    codes: Codes,
    bases: NDArray[np.uint8],
    qualities: NDArray[np.uint8],
    whitelist: Whitelist,
    counts: NDArray[np.int64],
) -> Lines:
    changes = np.arange(4, dtype=np.uint32)[:, None] << _SHIFTS  # (4, 16), by exclusive or
    neighbours = codes[:, None, None] ^ changes  # (n_reads, 4, 16)
    lines = whitelist.lookup(neighbours)
    unknown = bases == 4  # an unread base is the only one that may be changed
    changeable = unknown | ~unknown.any(axis=1)[:, None]
    row, change, position = np.nonzero((lines >= 0) & changeable[:, None, :])
    found = lines[row, change, position]
    error = np.power(10.0, qualities[row, position] / -10.0)
    weight = (counts[found] + 1) * error
    total = np.bincount(row, weights=weight, minlength=len(codes))
    certain = weight >= MIN_POSTERIOR * total[row]  # at most one of a row
    corrected = np.full(len(codes), -1, np.int32)
    corrected[row[certain]] = found[certain]
    return corrected
