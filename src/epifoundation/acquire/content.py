"""What the first reads of a file say: their length, and whether they begin with barcodes."""

import gzip
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from epifoundation.acquire.transfer import read_beginning
from epifoundation.errors import AcquireError

FEW_BYTES = 1 << 16  # some hundred reads, for their length
MANY_BYTES = 1 << 20  # 10,000 barcode reads
MAX_TEXT_BYTES = 1 << 23
N_READS = 10_000
LENGTH = 16
MIN_MATCH = 0.2  # of reads with a listed barcode; a list of another kit matches a few per mille
MIN_READS = 50  # fewer say nothing of a share
COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")
Lines = NDArray[np.int64]


@dataclass(frozen=True)
class BarcodeList:
    """The allowed barcodes of one library; line i of one pairs with line i of the other."""

    path: str
    ordered: NDArray[np.bytes_]
    line: Lines

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read one barcode of 16 bases a line, gzipped or not."""
        path = Path(path)
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as handle:
            barcodes = np.array(handle.read().split(), f"S{LENGTH}")
        order = np.argsort(barcodes)
        return cls(str(path), barcodes[order], order)

    def lines_of(self, reads: Sequence[bytes]) -> Lines:
        """Return the line of each 16 bases, -1 where they are not in the list."""
        asked = np.array(reads, f"S{LENGTH}")
        place = np.minimum(np.searchsorted(self.ordered, asked), self.ordered.size - 1)
        return np.where(self.ordered[place] == asked, self.line[place], -1)


@dataclass
class FirstReads:
    """The first reads of files on servers or disks; what was asked for once is kept.

    `lists` are the barcodes by library (gex, atac); without them nothing is said of barcodes.
    """

    lists: Mapping[str, BarcodeList] | None = None
    retries: int = 5
    kept: dict[tuple[str, int], list[bytes]] = field(default_factory=dict)

    def reads(self, url: str, n_bytes: int = FEW_BYTES) -> list[bytes]:
        """Return the sequences in the first bytes of a FASTQ file."""
        if (url, n_bytes) not in self.kept:
            self.kept[url, n_bytes] = sequences(
                read_beginning(url, n_bytes, retries=self.retries), url
            )
        return self.kept[url, n_bytes]

    def length(self, url: str) -> int:
        """Return the length of the longest of a FASTQ file's first reads."""
        return max(map(len, self.reads(url)[:100]))

    def barcodes(self, url: str, library: str) -> Lines | None:
        """Return the line of each of the first 10,000 reads; None where that cannot be said.

        Of the places a barcode can be at (first or last 16 bases, either strand; in GEX the first
        16 alone) the one with most matches is taken.
        """
        if self.lists is None:
            return None
        reads = self.reads(url, MANY_BYTES)[:N_READS]
        if len(reads) < MIN_READS:
            return None
        cuts = [[read[:LENGTH] for read in reads]]
        if library == "atac":
            cuts.append([read[-LENGTH:] for read in reads])
            cuts += [[read.translate(COMPLEMENT)[::-1] for read in cut] for cut in cuts]
        found = [self.lists[library].lines_of(cut) for cut in cuts]
        return max(found, key=lambda lines: int((lines >= 0).sum()))

    def share(self, url: str, library: str) -> float | None:
        """Return the share of the first 10,000 reads with a listed barcode; None: unknown."""
        lines = self.barcodes(url, library)
        return None if lines is None else float((lines >= 0).mean())


def sequences(packed: bytes, url: str) -> list[bytes]:
    """Return the sequences of the whole reads at the beginning of a gzipped FASTQ file."""
    text = b""
    try:
        while packed and len(text) < MAX_TEXT_BYTES:
            member = zlib.decompressobj(wbits=31)
            text += member.decompress(packed, MAX_TEXT_BYTES)
            packed = member.unused_data  # of the next member, where bgzip made the file
    except zlib.error:
        pass  # what came before is judged
    lines = text.split(b"\n")
    reads = [
        lines[i + 1]
        for i in range(0, len(lines) - 2, 4)  # the last line may be cut
        if lines[i].startswith(b"@")
    ]
    if not reads:
        message = f"{url} does not begin as gzipped FASTQ. See what the archive serves there."
        raise AcquireError(message)
    return reads


def read_lists(gex: Path | str, atac: Path | str) -> dict[str, BarcodeList]:
    """Return the barcodes of both libraries."""
    return {"gex": BarcodeList.read(gex), "atac": BarcodeList.read(atac)}


MIN_EXPECTED = 2.0
MIN_RATIO = 1.5  # of barcodes both libraries have, to those chance gives them

logger = logging.getLogger(__name__)


def check_pairing(gex: Lines, atac: Lines, n_barcodes: int, *, names: str) -> None:
    """Raise AcquireError if the libraries share no more barcodes than any two would by chance.

    `gex` and `atac` are the lines of each one's first reads, -1 where there is none. Of cells both
    have, many are among 10,000 reads of each; of unrelated libraries n₁ × n₂ ÷ `n_barcodes` are.
    """
    ours, theirs = np.unique(gex[gex >= 0]), np.unique(atac[atac >= 0])
    shared = np.intersect1d(ours, theirs).size
    expected = ours.size * theirs.size / n_barcodes
    most = min(ours.size, theirs.size)
    logger.info(
        "%s: %d of %d GEX and %d ATAC barcodes in the first reads are in both (%.1f by chance)",
        names, shared, ours.size, theirs.size, expected,
    )  # fmt: skip
    if expected < MIN_EXPECTED or most < 4 * expected:
        return  # too few reads, or too short a list, to tell
    if shared < MIN_RATIO * expected:
        message = (
            f"{names}: the RNA and ATAC reads are not of the same cells: of {ours.size:,} GEX and"
            f" {theirs.size:,} ATAC barcodes in the first reads {shared:,} are in both, and chance"
            f" alone gives {expected:,.0f}. Pair the accessions as the study's titles do."
        )
        raise AcquireError(message)
