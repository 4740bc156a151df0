"""Molecules of a sample: ATAC fragments and cDNA, one row per molecule, before amplification."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from epifoundation.simulate.annotation import MITOCHONDRION, SCAFFOLD
from epifoundation.simulate.genome import Genome, Transcripts

# Share, mean and standard deviation (bp) of lengths: free of nucleosomes, around one, two, three.
LENGTHS = ((0.60, 85, 22), (0.28, 195, 18), (0.09, 380, 30), (0.03, 570, 40))
SHORTEST_BP, LONGEST_BP = 50, 700
EDGE_BP = 20  # no fragment nearer to the end of a contig
UNSPLICED_SHARE = 0.2
FROM_3_PRIME_BP = 120  # mean distance of a cDNA read from the end of the transcript
CDNA_BP = 90


@dataclass(frozen=True)
class Fragments:
    """Fragments after the Tn5 correction: barcode (row), start and end in `Genome.letters`."""

    barcode: np.ndarray
    start: np.ndarray
    end: np.ndarray


@dataclass(frozen=True)
class Cdna:
    """Molecules of RNA: barcode (row), UMI as an integer, and the read's start in `Transcripts`."""

    barcode: np.ndarray
    umi: np.ndarray
    start: np.ndarray


def draw_fragments(
    counts: sparse.csr_matrix,
    background: np.ndarray,
    regions: pd.DataFrame,
    blacklist: pd.DataFrame,
    genome: Genome,
    shares: dict[str, float],
    rng: np.random.Generator,
) -> Fragments:
    """Return the fragments of counts (n_barcodes, n_regions) and `background` more a barcode.

    A fragment of a region has its middle there, most near the centre.
    """
    row, region = _molecules(counts)
    origin = regions["chrom"].map(genome.starts).to_numpy()
    width = (regions["end"] - regions["start"]).to_numpy()
    centre = origin + regions["start"].to_numpy() + width // 2
    spread = np.where(
        rng.random(len(region)) < 0.7,
        np.clip(rng.normal(0, 1 / 6, len(region)), -0.5, 0.5),
        rng.uniform(-0.5, 0.5, len(region)),
    )
    middle = centre[region] + (spread * width[region]).astype(np.int64)
    other_row = np.repeat(np.arange(len(background)), background)
    other = _background(len(other_row), blacklist, genome, shares, rng)
    barcode = np.concatenate([row, other_row])
    middle = np.concatenate([middle, other])
    length = _lengths(len(barcode), rng)
    contig_start = np.array(list(genome.starts.values()))
    contig_end = contig_start + np.array(list(genome.sizes.values()))
    contig = np.searchsorted(contig_start, middle, side="right") - 1
    start = np.maximum(middle - length // 2, contig_start[contig] + EDGE_BP)
    start = np.minimum(start, contig_end[contig] - EDGE_BP - length)
    return Fragments(barcode, start, start + length)


def _molecules(counts: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every counted molecule."""
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    return np.repeat(row, counts.data), np.repeat(counts.indices, counts.data)


def _lengths(n: int, rng: np.random.Generator) -> np.ndarray:
    share, mean, deviation = np.array(LENGTHS).T
    kind = rng.choice(len(LENGTHS), n, p=share)
    length: np.ndarray = rng.normal(mean[kind], deviation[kind]).astype(np.int64)
    return length.clip(SHORTEST_BP, LONGEST_BP)


def _background(
    n: int,
    blacklist: pd.DataFrame,
    genome: Genome,
    shares: dict[str, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Middles of fragments outside regions: anywhere, chrM, a scaffold, or blacklisted."""
    nuclear = min(genome.starts[MITOCHONDRION], genome.starts[SCAFFOLD])
    places = {
        "genome": np.array([[0, nuclear]]),
        MITOCHONDRION: np.array([[0, genome.sizes[MITOCHONDRION]]]) + genome.starts[MITOCHONDRION],
        "scaffold": np.array([[0, genome.sizes[SCAFFOLD]]]) + genome.starts[SCAFFOLD],
        "blacklist": blacklist[["start", "end"]].to_numpy()
        + blacklist["chrom"].map(genome.starts).to_numpy()[:, None],
    }
    kinds = rng.choice(list(shares), n, p=list(shares.values()))
    middle = np.empty(n, np.int64)
    for kind, spans in places.items():
        here = np.flatnonzero(kinds == kind)
        span = spans[rng.integers(len(spans), size=len(here))]
        middle[here] = rng.integers(span[:, 0], span[:, 1])
    return middle


def draw_cdna(
    counts: sparse.csr_matrix, transcripts: Transcripts, rng: np.random.Generator
) -> Cdna:
    """Return the molecules of counts (n_barcodes, n_genes): most spliced and near the 3' end."""
    barcode, gene = _molecules(counts)
    unspliced = (rng.random(len(gene)) < UNSPLICED_SHARE).astype(int)
    room = transcripts.lengths[unspliced, gene] - CDNA_BP
    near = np.minimum(rng.exponential(FROM_3_PRIME_BP, len(gene)).astype(np.int64), room)
    anywhere = rng.integers(0, room + 1)
    from_end = np.where(unspliced == 1, anywhere, near)
    start = transcripts.starts[unspliced, gene] + room - from_end
    return Cdna(barcode, rng.integers(4**12, size=len(gene)), start)
