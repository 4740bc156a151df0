import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.simulate.annotation import place_genes
from epifoundation.simulate.genome import (
    LETTERS,
    draw_genome,
    fasta_bytes,
    reverse_complement,
    transcribe,
)
from epifoundation.simulate.molecules import Fragments, draw_cdna, draw_fragments
from epifoundation.simulate.reads import Barcodes, atac_blocks, fastq_bytes, gex_blocks

SHARES = {"genome": 0.6, "chrM": 0.2, "scaffold": 0.1, "blacklist": 0.1}


@pytest.fixture(scope="module")
def annotation():
    return place_genes(40, 2, np.random.default_rng(0))


@pytest.fixture(scope="module")
def genome(annotation):
    return draw_genome(annotation, np.random.default_rng(1))


def text(letters):
    return letters.tobytes().decode()


def random_barcodes(n, rng):
    return Barcodes(*(LETTERS[rng.integers(4, size=(n, 16))] for _ in range(2)))


def test_fasta_holds_the_genome(genome):
    records = fasta_bytes(genome).decode().split(">")[1:]
    names = [record.split("\n", 1)[0] for record in records]
    assert names == list(genome.sizes)
    sequence = records[1].split("\n", 1)[1].replace("\n", "")
    start = genome.starts[names[1]]
    assert sequence == text(genome.letters[start : start + genome.sizes[names[1]]])


def test_transcripts_are_sense_and_spliced(annotation, genome):
    transcripts = transcribe(genome, annotation)
    complement = str.maketrans("ACGT", "TGCA")
    for number, gene in enumerate(annotation.genes.itertuples()):
        origin = genome.starts[gene.chrom]
        exons = annotation.exons[annotation.exons["gene"] == number]
        spliced = "".join(
            text(genome.letters[origin + row.start : origin + row.end])
            for row in exons.itertuples()
        )
        body = text(genome.letters[origin + gene.start : origin + gene.end])
        for kind, expected in enumerate((spliced, body)):
            if gene.strand == "-":
                expected = expected.translate(complement)[::-1]
            start, length = (
                table[kind, number] for table in (transcripts.starts, transcripts.lengths)
            )
            assert text(transcripts.letters[start : start + length]) == expected


def test_fragments_lie_where_they_were_counted(annotation, genome):
    regions = pd.DataFrame(
        {"chrom": ["chr1", "chr2"], "start": [5_000, 7_000], "end": [5_400, 7_900]}
    )
    counts = sparse.csr_matrix(np.array([[200, 0], [50, 300], [0, 0]], dtype=np.int32))
    background = np.array([0, 40, 25])
    fragments = draw_fragments(
        counts, background, regions, annotation.blacklist, genome, SHARES, np.random.default_rng(2)
    )
    assert np.bincount(fragments.barcode).tolist() == [200, 390, 25]
    length = fragments.end - fragments.start
    assert length.min() >= 50
    nucleosome_signal = ((length > 147) & (length < 294)).sum() / (length < 147).sum()
    assert 0.3 < nucleosome_signal < 0.7
    first = fragments.barcode == 0
    start = fragments.start[first] - genome.starts["chr1"]
    end = fragments.end[first] - genome.starts["chr1"]
    assert ((start < 5_400) & (end > 5_000)).all()
    last = fragments.start[fragments.barcode == 2]
    assert (last >= genome.starts["chrM"]).any()


def test_atac_reads_frame_the_shifted_fragment(genome):
    fragments = Fragments(np.array([0]), np.array([30_000]), np.array([30_180]))
    rng = np.random.default_rng(0)
    barcodes = random_barcodes(1, rng)
    (block,) = atac_blocks(fragments, barcodes, "trimmed", genome, rng)
    left = text(genome.letters[30_000 - 4 : 30_000 + 46])
    right = text(reverse_complement(genome.letters[30_180 - 45 : 30_180 + 5]))
    assert {text(block["R1"][0][0]), text(block["R3"][0][0])} == {left, right}
    assert all(letters.shape == quality.shape for letters, quality in block.values())


@pytest.mark.parametrize(
    ("layout", "length"), [("spacer_reverse", 24), ("forward_spacer", 24), ("trimmed", 16)]
)
def test_barcode_reads_have_their_layout_and_few_errors(genome, layout, length):
    rng = np.random.default_rng(3)
    n = 4_000
    fragments = Fragments(np.zeros(n, int), np.full(n, 30_000), np.full(n, 30_100))
    barcodes = random_barcodes(1, rng)
    (block,) = atac_blocks(fragments, barcodes, layout, genome, rng)
    letters, quality = block["R2"]
    assert letters.shape[1] == length
    n_reads = len(letters)
    assert 1.05 * n < n_reads < 1.15 * n  # duplicates
    expected = {
        "spacer_reverse": b"CAGACGCG" + reverse_complement(barcodes.atac[0]).tobytes(),
        "forward_spacer": barcodes.atac[0].tobytes() + b"CAGACGCG",
        "trimmed": reverse_complement(barcodes.atac[0]).tobytes(),
    }[layout]
    wrong = letters != np.frombuffer(expected, np.uint8)
    per_read = wrong.sum(axis=1)
    assert 0.01 < (per_read == 1).mean() < 0.025
    assert 0.0005 < (per_read == 2).mean() < 0.008
    assert per_read.max() <= 2
    assert (quality[wrong] == ord(",")).all()
    assert (letters == ord("N")).any()


def test_cdna_is_found_in_its_gene_mostly_at_the_3_prime_end(annotation, genome):
    rng = np.random.default_rng(4)
    transcripts = transcribe(genome, annotation)
    counts = sparse.csr_matrix(np.array([[0, 300, 0], [10, 0, 5]], dtype=np.int32))
    cdna = draw_cdna(counts, transcripts, rng)
    barcodes = random_barcodes(2, rng)
    (block,) = gex_blocks(cdna, barcodes, transcripts, rng)
    assert block["R1"][0].shape[1] == 28
    reads = [text(row) for row in block["R2"][0]]
    cell = [text(row[:16]) == text(barcodes.gex[0]) for row in block["R1"][0]]
    sense = {
        kind: text(transcripts.letters[start : start + length])
        for kind, start, length in zip(
            ("spliced", "unspliced"),
            transcripts.starts[:, 1],
            transcripts.lengths[:, 1],
            strict=True,
        )
    }
    places = [sense["spliced"].find(r) for r, c in zip(reads, cell, strict=True) if c]
    spliced = [place for place in places if place >= 0]
    assert len(spliced) / len(places) > 0.65
    assert np.median(len(sense["spliced"]) - 90 - np.array(spliced)) < 150
    whole = [r for r, c in zip(reads, cell, strict=True) if c]
    inside = [any(r in s for s in sense.values()) for r in whole]
    assert np.mean(inside) > 0.85  # the rest has an error


def test_fastq_records():
    letters = np.frombuffer(b"ACGTTTGA", np.uint8).reshape(2, 4)
    quality = np.frombuffer(b"FFFF,FFF", np.uint8).reshape(2, 4)
    assert fastq_bytes(9, 2, "R3", letters, quality).decode() == (
        "@SIM:2:00000009 3:N:0:1\nACGT\n+\nFFFF\n@SIM:2:00000010 3:N:0:1\nTTGA\n+\n,FFF\n"
    )
