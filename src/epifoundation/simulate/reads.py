"""Reads of molecules, as blocks of FASTQ; 10x names and structure."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from epifoundation.simulate.genome import LETTERS, Genome, Transcripts, reverse_complement
from epifoundation.simulate.molecules import CDNA_BP, Cdna, Fragments

# Tn5 copies 9 bases: a read starts 4 bases before the corrected insertion on the forward strand
# and 5 after it on the reverse strand (Buenrostro et al. 2013), so an aligner that shifts the two
# ends of a read pair by +4 and -5 gets the planted fragments back.
TN5_FORWARD, TN5_REVERSE = 4, 5
ATAC_BP = 50
BARCODE_BP, UMI_BP = 16, 12
SPACER = np.frombuffer(b"CAGACGCG", np.uint8)
DUPLICATES = 0.10  # further reads of a molecule, on average
ERROR_RATE = 0.001  # of bases of genome or cDNA
BARCODE_ERRORS = 0.018  # of barcodes have a wrong base
SECOND_ERRORS = 0.17  # of these have a second one
NO_CALL_SHARE = 0.1  # of wrong bases in barcodes
GOOD, BAD = ord("F"), ord(",")
BLOCK = 200_000
_CODE = np.zeros(256, np.uint8)
_CODE[LETTERS] = np.arange(4)

Block = dict[str, tuple[np.ndarray, np.ndarray]]  # read name: letters, qualities


@dataclass(frozen=True)
class Barcodes:
    """The two sequences of each barcode, (n_barcodes, 16) letters, paired by row."""

    gex: np.ndarray
    atac: np.ndarray


def atac_blocks(
    fragments: Fragments,
    barcodes: Barcodes,
    layout: str,
    genome: Genome,
    rng: np.random.Generator,
    *,
    second_errors: float = SECOND_ERRORS,
) -> Iterator[Block]:
    """Yield R1, R2 (the barcode read) and R3 of all fragments, duplicates included, shuffled.

    Of barcodes with a wrong base the share `second_errors` has a second one.
    """
    windows = sliding_window_view(genome.letters, ATAC_BP)
    for rows in _read_order(len(fragments.start), rng):
        left = windows[fragments.start[rows] - TN5_FORWARD]
        right = reverse_complement(windows[fragments.end[rows] + TN5_REVERSE - ATAC_BP])
        swap = rng.random(len(rows))[:, None] < 0.5
        first, second = np.where(swap, right, left), np.where(swap, left, right)
        barcode, quality = _misread(barcodes.atac[fragments.barcode[rows]], second_errors, rng)
        yield {
            "R1": _with_errors(first, rng),
            "R2": _laid_out(barcode, quality, layout),
            "R3": _with_errors(second, rng),
        }


def gex_blocks(
    cdna: Cdna,
    barcodes: Barcodes,
    transcripts: Transcripts,
    rng: np.random.Generator,
    *,
    second_errors: float = SECOND_ERRORS,
) -> Iterator[Block]:
    """Yield R1 (barcode and UMI) and R2 (cDNA, sense) of all molecules, shuffled.

    `second_errors` as in `atac_blocks`.
    """
    windows = sliding_window_view(transcripts.letters, CDNA_BP)
    for rows in _read_order(len(cdna.start), rng):
        umi = LETTERS[cdna.umi[rows][:, None] >> 2 * np.arange(UMI_BP) & 3]
        barcode, quality = _misread(barcodes.gex[cdna.barcode[rows]], second_errors, rng)
        yield {
            "R1": (
                np.hstack([barcode, umi]),
                np.hstack([quality, np.full(umi.shape, GOOD, np.uint8)]),
            ),
            "R2": _with_errors(windows[cdna.start[rows]], rng),
        }


def _read_order(n_molecules: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the molecule of each read, block by block: each once, some again, shuffled."""
    copies = 1 + rng.poisson(DUPLICATES, n_molecules)
    rows = rng.permutation(np.repeat(np.arange(n_molecules), copies))
    for low in range(0, len(rows), BLOCK):
        yield rows[low : low + BLOCK]


def _with_errors(letters: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    quality = np.full(letters.shape, GOOD, np.uint8)
    letters = np.ascontiguousarray(letters)
    wrong = rng.integers(letters.size, size=rng.poisson(letters.size * ERROR_RATE))
    _substitute(letters, quality, wrong, rng)
    return letters, quality


def _misread(
    barcode: np.ndarray, second_errors: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return barcodes with their planted reading errors, and qualities."""
    quality = np.full(barcode.shape, GOOD, np.uint8)
    once = np.flatnonzero(rng.random(len(barcode)) < BARCODE_ERRORS)
    for row in (once, once[rng.random(len(once)) < second_errors]):
        wrong = row * BARCODE_BP + rng.integers(BARCODE_BP, size=len(row))
        _substitute(barcode, quality, wrong, rng)
        no_call = wrong[rng.random(len(wrong)) < NO_CALL_SHARE]
        barcode.reshape(-1)[no_call] = ord("N")
    return barcode, quality


def _substitute(
    letters: np.ndarray, quality: np.ndarray, wrong: np.ndarray, rng: np.random.Generator
) -> None:
    """Replace the letters at flat positions `wrong` by another base, with a bad quality."""
    flat = letters.reshape(-1)
    flat[wrong] = LETTERS[(_CODE[flat[wrong]] + rng.integers(1, 4, len(wrong))) % 4]
    quality.reshape(-1)[wrong] = BAD


def _laid_out(
    barcode: np.ndarray, quality: np.ndarray, layout: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the barcode read in one of the layouts of `SampleDesign`."""
    spacer = np.broadcast_to(SPACER, (len(barcode), len(SPACER)))
    good = np.full(spacer.shape, GOOD, np.uint8)
    if layout == "forward_spacer":
        return np.hstack([barcode, spacer]), np.hstack([quality, good])
    turned = reverse_complement(barcode), quality[:, ::-1]
    if layout == "trimmed":
        return turned
    return np.hstack([spacer, turned[0]]), np.hstack([good, turned[1]])


def fastq_bytes(
    first: int, lane: int, read: str, letters: np.ndarray, quality: np.ndarray
) -> bytes:
    """Return records of reads of one length, numbered from `first`."""
    n, length = letters.shape
    head = f"@SIM:{lane}:".encode()
    tail = f" {read[1]}:N:0:1\n".encode()
    n_digits = 8
    width = len(head) + n_digits + len(tail) + 2 * length + 4
    record = np.empty((n, width), np.uint8)
    at = len(head)
    record[:, :at] = np.frombuffer(head, np.uint8)
    digits = (first + np.arange(n))[:, None] // 10 ** np.arange(n_digits - 1, -1, -1) % 10
    record[:, at : at + n_digits] = digits + ord("0")
    at += n_digits
    record[:, at : at + len(tail)] = np.frombuffer(tail, np.uint8)
    at += len(tail)
    record[:, at : at + length] = letters
    record[:, at + length : at + length + 3] = np.frombuffer(b"\n+\n", np.uint8)
    record[:, at + length + 3 : -1] = quality
    record[:, -1] = ord("\n")
    return record.tobytes()
