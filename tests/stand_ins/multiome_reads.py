"""Reads of a small multiome, in the forms that archives hold them."""

import gzip
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pysam

BASES = np.frombuffer(b"ACGT", np.uint8)
N_BARCODES = 20_000
COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")
Records = list[tuple[bytes, bytes]]  # sequence and qualities


def random_sequences(n: int, length: int, rng: np.random.Generator) -> list[bytes]:
    return [row.tobytes() for row in BASES[rng.integers(0, 4, (n, length))]]


def barcode_lists(rng: np.random.Generator) -> tuple[list[bytes], list[bytes]]:
    """Return as many GEX and ATAC barcodes; those on one line are of one bead."""
    made = list(dict.fromkeys(random_sequences(2 * N_BARCODES + 100, 16, rng)))
    return made[:N_BARCODES], made[N_BARCODES : 2 * N_BARCODES]


@dataclass(frozen=True)
class Multiome:
    """The reads of one sample by read (gex R1 R2, atac R1 R2 R3), all of one lane."""

    reads: dict[tuple[str, str], Records]

    @classmethod
    def make(
        cls, lists: tuple[list[bytes], list[bytes]], n_reads: int, rng: np.random.Generator
    ) -> "Multiome":
        beads = rng.choice(N_BARCODES, 300, replace=False)
        gex = [lists[0][i] for i in rng.choice(beads, n_reads)]
        atac = [lists[1][i] for i in rng.choice(beads, n_reads)]
        umis, spacers = random_sequences(n_reads, 12, rng), random_sequences(n_reads, 8, rng)
        genomic = {
            ("gex", "R2"): random_sequences(n_reads, 90, rng),
            ("atac", "R1"): random_sequences(n_reads, 50, rng),
            ("atac", "R3"): random_sequences(n_reads, 49, rng),
        }
        barcodes = {
            ("gex", "R1"): [a + b for a, b in zip(gex, umis, strict=True)],
            ("atac", "R2"): [
                a + b.translate(COMPLEMENT)[::-1] for a, b in zip(spacers, atac, strict=True)
            ],
        }
        reads = {}
        for key, sequences in (genomic | barcodes).items():
            letters = rng.integers(65, 74, (n_reads, len(sequences[0])), dtype=np.uint8)
            reads[key] = list(zip(sequences, map(bytes, letters), strict=True))
        return cls(reads)

    def text(self, library: str, read: str) -> bytes:
        """Return FASTQ."""
        return b"".join(
            b"@A00:1:H:1:1101:%d:1 %s:N:0:AC\n%s\n+\n%s\n"
            % (number, read[1:].encode(), bases, qualities)
            for number, (bases, qualities) in enumerate(self.reads[library, read])
        )

    def fastq(self, library: str, read: str) -> bytes:
        """Return FASTQ, gzipped."""
        return gzip.compress(self.text(library, read), 1, mtime=0)

    def archived_run(self, library: str, technical: str) -> bytes:
        """Return what the stand-in of fasterq-dump takes for an archived run."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as run:
            for of, read in sorted(self.reads):
                if of == library:
                    kind = "T" if read == technical else "B"
                    run.writestr(zipfile.ZipInfo(f"{read}.{kind}.fastq"), self.text(library, read))
        return packed.getvalue()

    def bam(self, path: Path, *, untouched: bool = True) -> bytes:
        """Return the GEX reads as Cell Ranger's BAM holds them, made at `path`."""
        header = {"HD": {"VN": "1.4"}, "PG": [{"ID": "cellranger-arc.count"}]}
        both = zip(self.reads["gex", "R1"], self.reads["gex", "R2"], strict=True)
        with pysam.AlignmentFile(str(path), "wb", header=header) as bam:
            for number, ((first, scores), (bases, qualities)) in enumerate(both):
                read = pysam.AlignedSegment()
                read.query_name, read.flag = f"A00:1:H:1:1101:{number}:1", 4
                read.query_sequence = bases.decode()
                read.query_qualities = pysam.qualitystring_to_array(qualities.decode())
                if untouched:
                    read.set_tags(
                        [
                            ("CR", first[:16].decode(), "Z"),
                            ("CY", scores[:16].decode(), "Z"),
                            ("UR", first[16:].decode(), "Z"),
                            ("UY", scores[16:].decode(), "Z"),
                        ]
                    )
                bam.write(read)
        return path.read_bytes()
