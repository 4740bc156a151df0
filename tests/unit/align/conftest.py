"""A genome of 200 kb with its indexes, and reads of known cells, fragments and molecules."""

import gzip
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

LETTERS = np.frombuffer(b"ACGT", np.uint8)
COMPLEMENT = bytes.maketrans(b"ACGTN", b"TGCAN")
N_BARCODES, N_CELLS, N_EMPTY = 5_000, 60, 300
SIZES = {"chr1": 120_000, "chr2": 75_000, "chrM": 5_000}
EXON, INTRON, N_GENES = 400, 600, 30
# Nuclei seen by several barcodes: fragments of each of them, of which the first is to be kept.
DOUBLETS = [(400, 310), (380, 330), (420, 300)]  # two beads in a droplet
MULTIPLETS = [(340, 150, 140), (360, 160)]  # sequences of one bead
CHAIN = 12  # fragments in a row, each beginning where the last one ends


def reverse_complement(sequence: bytes) -> bytes:
    return sequence.translate(COMPLEMENT)[::-1]


def random_bases(rng: np.random.Generator, length: int) -> bytes:
    return LETTERS[rng.integers(0, 4, length)].tobytes()


@dataclass(frozen=True)
class Reference:
    folder: Path
    genome: dict[str, bytes]
    genes: pd.DataFrame  # gene chrom start end strand

    @property
    def star(self) -> Path:
        return self.folder / "star"

    @property
    def bwa(self) -> Path:
        return self.folder / "bwa" / "genome.fa"


@dataclass(frozen=True)
class Library:
    """Files of a simulated sample and what was planted in them."""

    folder: Path
    manifest: pd.DataFrame
    whitelist_gex: Path
    whitelist_atac: Path
    cells: set[str]
    excluded: dict[str, int]  # reason by barcode
    fragments: pd.DataFrame  # chrom start end barcode count; sorted; GEX barcode with -1
    umis: pd.DataFrame  # barcode gene n


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("reference")
    rng = np.random.default_rng(1)
    genome = {name: random_bases(rng, size) for name, size in SIZES.items()}
    fasta = folder / "genome.fa"
    fasta.write_text("".join(f">{name}\n{seq.decode()}\n" for name, seq in genome.items()))
    span = 2 * EXON + INTRON
    rows = [
        (f"G{i:02d}", "chr1" if i < 20 else "chr2", 2000 + 5500 * (i % 20), "+-"[i % 2])
        for i in range(N_GENES)
    ]
    genes = pd.DataFrame(rows, columns=["gene", "chrom", "start", "strand"])
    genes = genes.assign(end=genes["start"] + span)
    gtf = folder / "genes.gtf"
    with gtf.open("w") as handle:
        for g in genes.itertuples():
            words = f'gene_id "ID{g.gene}"; transcript_id "T{g.gene}"; gene_name "{g.gene}";'
            for start in (g.start, g.start + EXON + INTRON):
                place = f"{start + 1}\t{start + EXON}\t.\t{g.strand}\t."
                handle.write(f"{g.chrom}\ttest\texon\t{place}\t{words}\n")
    (folder / "star").mkdir()
    (folder / "bwa").mkdir()
    star = f"STAR --runMode genomeGenerate --genomeDir star --genomeFastaFiles {fasta}"
    star += f" --sjdbGTFfile {gtf} --sjdbOverhang 89 --genomeSAindexNbases 7 --runThreadN 1"
    for command in (star, f"bwa index -p bwa/genome.fa {fasta}"):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return Reference(folder, genome, genes)


def write_fastq(path: Path, reads: list[tuple[bytes, bytes]]) -> None:
    """Write (bases, qualities) under running names."""
    with gzip.open(path, "wb", compresslevel=1) as handle:
        for i, (bases, qualities) in enumerate(reads):
            handle.write(b"@read:%d 1:N:0\n%s\n+\n%s\n" % (i, bases, qualities))


def with_error(rng: np.random.Generator, barcode: bytes) -> tuple[bytes, bytes]:
    """Return the barcode and its qualities; one in twenty has a base of low quality changed."""
    if rng.random() >= 0.05:
        return barcode, b"F" * 16
    place = int(rng.integers(16))
    other = b"ACGT"[(b"ACGT".index(barcode[place]) + int(rng.integers(1, 4))) % 4]
    changed = barcode[:place] + bytes([other]) + barcode[place + 1 :]
    return changed, b"F" * place + b"#" + b"F" * (15 - place)


def as_read(barcode: bytes, qualities: bytes, lane: str) -> tuple[bytes, bytes]:
    """Lay an ATAC barcode out as its lane's instrument would."""
    if lane == "L001":  # spacer, then reverse complement
        return b"CAGACGCG" + reverse_complement(barcode), b"F" * 8 + qualities[::-1]
    if lane == "L002":
        return barcode + b"CAGACGCG", qualities + b"F" * 8
    return barcode, qualities


@pytest.fixture(scope="session")
def library(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("library")
    rng = np.random.default_rng(2)
    lists = {}
    for name in ("gex", "atac"):
        lists[name] = list(dict.fromkeys(random_bases(rng, 16) for _ in range(N_BARCODES + 10)))
        lists[name] = lists[name][:N_BARCODES]
    lines = rng.choice(N_BARCODES, N_CELLS + N_EMPTY, replace=False)
    depth = np.where(np.arange(lines.size) < N_CELLS, 300, 12)
    groups = _plant_groups(lists["atac"], lines)
    for name in lists:
        with gzip.open(folder / f"{name}.txt.gz", "wb") as handle:
            handle.write(b"\n".join(lists[name]) + b"\n")
    gex_name = {line: barcode.decode() + "-1" for line, barcode in enumerate(lists["gex"])}
    files = []
    linked = pd.concat([_linked_fragments(rng, group) for group in groups])
    fragments = _write_atac(folder, rng, reference, lists["atac"], lines, depth, linked, files)
    grouped = [(line, n) for group in groups for line, n in group.items()]
    lines = np.append(lines, [line for line, _ in grouped])
    depth = np.append(depth, [n for _, n in grouped])
    umis = _write_gex(folder, rng, reference, lists["gex"], lines, depth, files)
    fragments["barcode"] = fragments["line"].map(gex_name)
    umis["barcode"] = umis["line"].map(gex_name)
    manifest = pd.DataFrame(files, columns=["file", "library", "lane", "read"])
    manifest = manifest.assign(url="file", bytes=1, md5="0")
    cells = {gex_name[int(line)] for line in [*lines[:N_CELLS], *(next(iter(g)) for g in groups)]}
    reasons = [1] * len(DOUBLETS) + [3] * len(MULTIPLETS)
    excluded = {
        gex_name[line]: reason
        for group, reason in zip(groups, reasons, strict=True)
        for line in list(group)[1:]
    }
    whitelists = (folder / "gex.txt.gz", folder / "atac.txt.gz")
    return Library(folder, manifest, *whitelists, cells, excluded, fragments, umis)


def _plant_groups(atac: list[bytes], taken: np.ndarray) -> list[dict[int, int]]:
    """Return fragments by line of each planted nucleus; lines of one bead get like barcodes."""
    free = iter(sorted(set(range(N_BARCODES)) - set(taken.tolist())))
    groups = [{next(free): n for n in sizes} for sizes in DOUBLETS + MULTIPLETS]
    for group in groups[len(DOUBLETS) :]:
        major, *minors = group
        for number, line in enumerate(minors):
            kept, other = atac[major], atac[line]
            atac[line] = (kept[:7] + other[7:]) if number else (other[:9] + kept[9:])
    return groups


def _linked_fragments(rng: np.random.Generator, group: dict[int, int]) -> pd.DataFrame:
    """Return fragments of one nucleus in chains, each seen by one of its barcodes."""
    line = rng.permutation(np.repeat(list(group), list(group.values())))
    length = rng.integers(60, 300, line.size)
    chain = np.arange(line.size) // CHAIN
    # both ends of a cut are 9 bp further, so that neighbours overlap by as much
    offset = np.cumsum(length - 9) - (length - 9)
    offset -= offset[chain * CHAIN]
    chrom = rng.choice(2, chain[-1] + 1, p=[0.6, 0.4])[chain]
    room = np.array([SIZES["chr1"], SIZES["chr2"]])[chrom] - CHAIN * 300
    start = (rng.random(chain[-1] + 1)[chain] * room).astype(int) + offset
    return pd.DataFrame({"line": line, "chrom": chrom, "start": start, "length": length})


def _write_atac(folder, rng, reference, barcodes, lines, depth, linked, files):
    names, sizes = list(SIZES), np.array(list(SIZES.values()))
    line = np.repeat(lines, rng.poisson(depth))
    chrom = rng.choice(3, line.size, p=[0.6, 0.35, 0.05])
    length = rng.integers(60, 700, line.size)
    start = (rng.random(line.size) * (sizes[chrom] - length)).astype(int)
    rows = pd.DataFrame({"line": line, "chrom": chrom, "start": start, "length": length})
    rows = pd.concat([rows, linked]).drop_duplicates(ignore_index=True)
    rows["count"] = 1 + rng.binomial(2, 0.15, len(rows))
    pairs = rows.loc[rows.index.repeat(rows["count"])].sample(frac=1, random_state=3)
    reads = {(lane, read): [] for lane in ("L001", "L002", "L003") for read in ("R1", "R2", "R3")}
    for i, p in enumerate(pairs.itertuples()):
        lane = f"L00{1 + i % 3}"
        piece = reference.genome[names[p.chrom]][p.start : p.start + p.length]
        ends = [piece[:50], reverse_complement(piece[-50:])]
        if rng.random() < 0.5:
            ends.reverse()
        reads[lane, "R1"].append((ends[0], b"F" * 50))
        reads[lane, "R3"].append((ends[1], b"F" * 50))
        barcode, qualities = with_error(rng, barcodes[p.line])
        reads[lane, "R2"].append(as_read(barcode, qualities, lane))
    for (lane, read), content in reads.items():
        file = f"atac_{lane}_{read}.fastq.gz"
        write_fastq(folder / file, content)
        files.append((file, "atac", lane, read))
    rows["end"] = rows["start"] + rows["length"] - 5
    rows["start"] += 4
    rows["chrom"] = [names[c] for c in rows["chrom"]]
    return rows


def _write_gex(folder, rng, reference, barcodes, lines, depth, files):
    genes = list(reference.genes.itertuples())
    line = np.repeat(lines, rng.poisson(depth))
    gene = rng.choice(len(genes), line.size)
    molecules = pd.DataFrame({"line": line, "gene": gene})
    reads: dict[str, list[tuple[bytes, bytes]]] = {"R1": [], "R2": []}
    order = rng.permutation(np.repeat(np.arange(line.size), 1 + rng.binomial(1, 0.3, line.size)))
    umi = [random_bases(rng, 12) for _ in range(line.size)]
    for molecule in order:
        g = genes[gene[molecule]]
        span = reference.genome[g.chrom][g.start : g.end]
        spliced = span[:EXON] + span[EXON + INTRON :]
        source = spliced if rng.random() < 0.6 else span[EXON : EXON + INTRON]
        source = source if g.strand == "+" else reverse_complement(source)
        begin = int(rng.integers(len(source) - 90))
        barcode, qualities = with_error(rng, barcodes[line[molecule]])
        reads["R1"].append((barcode + umi[molecule], qualities + b"F" * 12))
        reads["R2"].append((source[begin : begin + 90], b"F" * 90))
    for read, content in reads.items():
        file = f"gex_L001_{read}.fastq.gz"
        write_fastq(folder / file, content)
        files.append((file, "gex", "L001", read))
    molecules["gene"] = reference.genes["gene"].to_numpy()[gene]
    return molecules.value_counts().rename("n").reset_index()
