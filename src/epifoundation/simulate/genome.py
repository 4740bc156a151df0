"""Sequence of the simulated genome, and of what is transcribed from it."""

from dataclasses import dataclass

import numpy as np

from epifoundation.simulate.annotation import Annotation

LETTERS = np.frombuffer(b"ACGT", np.uint8)
LINE_BP = 80
_COMPLEMENT = np.arange(256, dtype=np.uint8)
_COMPLEMENT[np.frombuffer(b"ACGTN", np.uint8)] = np.frombuffer(b"TGCAN", np.uint8)


@dataclass(frozen=True)
class Genome:
    """All contigs end to end: letters (uint8 ASCII), and where each contig starts in them."""

    letters: np.ndarray
    starts: dict[str, int]
    sizes: dict[str, int]


@dataclass(frozen=True)
class Transcripts:
    """Sense sequences end to end: the spliced ones of all genes, then the unspliced ones.

    `starts`, `lengths`: (2, n_genes), row 0 spliced, row 1 unspliced.
    """

    letters: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray


def draw_genome(annotation: Annotation, rng: np.random.Generator) -> Genome:
    """Draw independent bases, 42 % G or C."""
    sizes = annotation.chrom_sizes
    ends = np.cumsum(list(sizes.values()))
    letters = LETTERS[rng.choice(4, ends[-1], p=[0.29, 0.21, 0.21, 0.29]).astype(np.uint8)]
    return Genome(
        letters, dict(zip(sizes, (ends - list(sizes.values())).tolist(), strict=True)), sizes
    )


def fasta_bytes(genome: Genome) -> bytes:
    """Return the genome as FASTA."""
    parts = []
    for name, start in genome.starts.items():
        sequence = genome.letters[start : start + genome.sizes[name]].tobytes()
        lines = [sequence[i : i + LINE_BP] for i in range(0, len(sequence), LINE_BP)]
        parts += [b">" + name.encode(), *lines]
    return b"\n".join(parts) + b"\n"


def reverse_complement(letters: np.ndarray) -> np.ndarray:
    """Return the reverse complement along the last axis."""
    complement: np.ndarray = _COMPLEMENT[letters[..., ::-1]]
    return complement


def transcribe(genome: Genome, annotation: Annotation) -> Transcripts:
    """Return spliced and unspliced sequences of every gene, 5' to 3'."""
    genes = annotation.genes
    origin = genes["chrom"].map(genome.starts).to_numpy()
    exons = annotation.exons
    offset = origin[exons["gene"]]
    pieces = np.array([exons["start"] + offset, exons["end"] + offset]).T.tolist()
    first = np.searchsorted(exons["gene"], np.arange(len(genes) + 1)).tolist()
    spliced = [
        np.concatenate([genome.letters[low:high] for low, high in pieces[first[g] : first[g + 1]]])
        for g in range(len(genes))
    ]
    bodies = zip((genes["start"] + origin).tolist(), (genes["end"] + origin).tolist(), strict=True)
    unspliced = [genome.letters[low:high] for low, high in bodies]
    backward = (genes["strand"] == "-").tolist() * 2
    sense = [
        reverse_complement(s) if b else s
        for s, b in zip(spliced + unspliced, backward, strict=True)
    ]
    lengths = np.array([len(s) for s in sense])
    return Transcripts(
        np.concatenate(sense),
        (np.cumsum(lengths) - lengths).reshape(2, -1),
        lengths.reshape(2, -1),
    )
