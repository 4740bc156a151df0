"""Fragments agree with SnapATAC2's, made from the same alignments by way of a BAM."""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest

from epifoundation.align.atac import write_fragments
from epifoundation.align.barcodes import Whitelist
from epifoundation.align.sam import Tally, spill_fragments


def repetitive_genome(rng: np.random.Generator) -> dict[str, bytes]:
    """Return three contigs, the second with a copy of a tenth of the first."""
    sizes = {"chr1": 60_000, "chr2": 40_000, "chrM": 5_000}
    letters = np.frombuffer(b"ACGT", np.uint8)
    genome = {name: letters[rng.integers(0, 4, size)] for name, size in sizes.items()}
    genome["chr2"][10_000:16_000] = genome["chr1"][20_000:26_000]
    return {name: bases.tobytes() for name, bases in genome.items()}


def messy_pairs(genome_of: dict[str, bytes], rng: np.random.Generator) -> bytes:
    """Return interleaved FASTQ: pairs with errors, soft-clipped ends, repeats and chimeras."""
    complement = bytes.maketrans(b"ACGT", b"TGCA")
    text = []
    for line in rng.integers(0, 20, 4_000):
        chrom = ("chr1", "chr2", "chrM")[rng.choice(3, p=[0.5, 0.4, 0.1])]
        genome = genome_of[chrom]
        start, length = int(rng.integers(len(genome) - 900)), int(rng.integers(30, 900))
        piece = genome[start : start + length]
        ends = [bytearray(piece[:50]), bytearray(piece[-50:].translate(complement)[::-1])]
        kind = rng.random()
        if kind < 0.1:  # an end of adapter is clipped by the aligner
            ends[0][-15:] = b"CTGTCTCTTATACAC"
        elif kind < 0.15:
            other = int(rng.integers(39_000))
            ends[1] = bytearray(genome_of["chr2"][other : other + 50])
        elif kind < 0.2:
            ends[0] = bytearray(np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, 50)].tobytes())
        for end in ends:
            if end and rng.random() < 0.3:
                end[int(rng.integers(len(end)))] = ord("A")
        if rng.random() < 0.5:
            ends.reverse()
        pair = b"".join(b"@%d\n%s\n+\n%s\n" % (line, end, b"F" * len(end)) for end in ends)
        text.append(pair * int(rng.integers(1, 3)))
    return b"".join(text)


@pytest.fixture(scope="module")
def alignments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sam")
    rng = np.random.default_rng(5)
    genome = repetitive_genome(rng)
    fasta = "".join(f">{name}\n{bases.decode()}\n" for name, bases in genome.items())
    (folder / "genome.fa").write_text(fasta)
    (folder / "reads.fq").write_bytes(messy_pairs(genome, rng))
    subprocess.run(["bwa", "index", "genome.fa"], cwd=folder, check=True, capture_output=True)
    with (folder / "pairs.sam").open("wb") as handle:
        command = ["bwa", "mem", "-p", "genome.fa", "reads.fq"]
        subprocess.run(command, cwd=folder, stdout=handle, stderr=subprocess.DEVNULL, check=True)
    return folder / "pairs.sam"


def test_agrees_with_snapatac2(alignments: Path, tmp_path: Path) -> None:
    snapatac2 = pytest.importorskip("snapatac2")
    names = np.array([f"{i:016b}".replace("0", "C").replace("1", "G").encode() for i in range(20)])
    whitelist = Whitelist("toy", names)
    spill = tmp_path / "spill"
    spill.mkdir()
    tally = Tally(20)
    with alignments.open("rb") as handle:
        contigs = spill_fragments(handle, spill, tally, 30, 0)
    path = tmp_path / "ours.tsv.gz"
    write_fragments(spill, contigs, whitelist, path, sample="toy", mitochondrial="chrM", threads=1)
    assert min(tally.unmapped.sum(), tally.low_quality.sum(), tally.chimeric.sum()) > 20

    bam = tmp_path / "pairs.bam"
    with (
        pysam.AlignmentFile(str(alignments)) as source,
        pysam.AlignmentFile(str(bam), "wb", template=source) as target,
    ):
        n_pairs = 0
        for row in source:  # SnapATAC2 pairs reads by name
            n_pairs += row.is_read1 and not row.is_secondary and not row.is_supplementary
            row.set_tag("CB", names[int(row.query_name)].decode() + "-1")
            row.query_name = str(n_pairs)
            target.write(row)
    other = tmp_path / "theirs.tsv.gz"
    snapatac2.pp.make_fragment_file(
        str(bam),
        str(other),
        is_paired=True,
        barcode_tag="CB",
        shift_left=4,
        shift_right=-5,
        min_mapq=30,
    )
    columns = ["chrom", "start", "end", "barcode", "count"]
    ours, theirs = (
        pd.read_csv(p, sep="\t", comment="#", header=None, names=columns) for p in (path, other)
    )
    both = ours.merge(theirs, on=columns)
    assert len(both) == len(ours) == len(theirs)
