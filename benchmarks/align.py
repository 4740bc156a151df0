"""The open engine on reads of known origin, with 10x's whole lists: how fast, and how exact.

    python -m benchmarks.align --folder /tmp/align --output benchmarks/align.json

Makes a genome of random bases (8 Mb, 800 genes), indexes it, draws 200 cells and 4,000 empty
droplets among the 736,320 barcodes of 10x's lists, and writes their reads (no barcode with two
errors: nothing could tell it). Records, on one thread: the read pairs a second and core of the
barcode step (reading, finding, correcting, handing on), of bwa on the same pairs, and of the whole
engine for each library, by CPU seconds of itself and its programs; its own largest resident memory,
without bwa and STAR; and which share of fragments, UMI counts and cells comes back as planted. bwa
is faster on so small a genome than on a human one, so the comparison is a strict one.
"""

import argparse
import gzip
import json
import logging
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.assembly import peak_memory_mb

SIZES = {"chr1": 5_000_000, "chr2": 2_980_000, "chrM": 20_000}
N_CELLS, N_EMPTY = 200, 4_000
N_FRAGMENTS, N_UMIS = 1_600, 1_600  # of a cell; empty droplets have a hundredth
N_GENES, EXON_BP, INTRON_BP = 800, 600, 900
STAR_INDEX_BASES = 10


def make_reference(folder: Path) -> None:
    """Write and index the genome."""
    from epifoundation.simulate.genome import Genome, fasta_bytes

    genome = Genome(*_genome())
    (folder / "genome.fa").write_bytes(fasta_bytes(genome))
    with (folder / "genes.gtf").open("w") as handle:
        for i, start in enumerate(_gene_starts()):
            words = f'gene_id "G{i:04d}"; transcript_id "T{i:04d}"; gene_name "GENE{i}";'
            for begin in (start, start + EXON_BP + INTRON_BP):
                place = f"{begin + 1}\t{begin + EXON_BP}\t.\t+\t."
                handle.write(f"chr1\ttest\texon\t{place}\t{words}\n")
    star = "STAR --runMode genomeGenerate --genomeDir star --genomeFastaFiles genome.fa"
    star += f" --sjdbGTFfile genes.gtf --sjdbOverhang 89 --genomeSAindexNbases {STAR_INDEX_BASES}"
    (folder / "star").mkdir()
    for command in (star, "bwa index genome.fa"):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)


def _genome() -> tuple[np.ndarray, dict[str, int], dict[str, int]]:
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, sum(SIZES.values()))]
    ends = np.cumsum(list(SIZES.values()))
    starts = (ends - list(SIZES.values())).tolist()
    return letters, dict(zip(SIZES, starts, strict=True)), SIZES


def _gene_starts() -> list[int]:
    span = SIZES["chr1"] // N_GENES
    return [1_000 + span * i for i in range(N_GENES)]


def make_reads(folder: Path) -> None:
    """Write the reads of both libraries, their manifest and what was planted."""
    from epifoundation.simulate.archive import draw_whitelist
    from epifoundation.simulate.genome import Genome, Transcripts
    from epifoundation.simulate.molecules import CDNA_BP, Cdna, Fragments
    from epifoundation.simulate.reads import Barcodes, atac_blocks, gex_blocks

    rng = np.random.default_rng(1)
    genome = Genome(*_genome())
    barcodes = draw_whitelist(N_CELLS + N_EMPTY, rng)
    order = rng.permutation(N_CELLS + N_EMPTY)
    barcodes = Barcodes(barcodes.gex[order], barcodes.atac[order])
    scale = np.where(np.arange(order.size) < N_CELLS, rng.lognormal(0, 0.3, order.size), 0.01)

    row = np.repeat(np.arange(order.size), rng.poisson(N_FRAGMENTS * scale))
    chrom = rng.choice(3, row.size, p=[0.62, 0.37, 0.01])
    length = rng.integers(60, 700, row.size)
    within = 20 + (rng.random(row.size) * (np.array(list(SIZES.values()))[chrom] - 740)).astype(int)
    start = np.array(list(genome.starts.values()))[chrom] + within
    fragments = Fragments(row, start, start + length)
    blocks = atac_blocks(fragments, barcodes, "spacer_reverse", genome, rng, second_errors=0)
    _write(folder, "atac", blocks)
    names = np.array([f"{b.tobytes().decode()}-1" for b in barcodes.gex])
    planted = {"chrom": np.array(list(SIZES))[chrom], "start": within, "end": within + length}
    pd.DataFrame(planted | {"barcode": names[row]}).drop_duplicates().to_parquet(
        folder / "fragments.parquet"
    )

    first = np.array(_gene_starts())
    span = 2 * EXON_BP + INTRON_BP
    bodies = [genome.letters[s : s + span] for s in first]
    spliced = [np.concatenate([body[:EXON_BP], body[-EXON_BP:]]) for body in bodies]
    lengths = np.array([[2 * EXON_BP] * N_GENES, [span] * N_GENES])
    starts = (np.cumsum(lengths) - lengths.ravel()).reshape(2, -1)
    transcripts = Transcripts(np.concatenate(spliced + bodies), starts, lengths)
    row = np.repeat(np.arange(order.size), rng.poisson(N_UMIS * scale))
    gene = rng.integers(N_GENES, size=row.size)
    unspliced = (rng.random(row.size) < 0.2).astype(int)
    begin = (rng.random(row.size) * (lengths[unspliced, gene] - CDNA_BP)).astype(int)
    umi = rng.integers(4**12, size=row.size)
    cdna = Cdna(row, umi, starts[unspliced, gene] + begin)
    _write(folder, "gex", gex_blocks(cdna, barcodes, transcripts, rng, second_errors=0))
    molecules = pd.DataFrame({"barcode": names[row], "gene": gene, "umi": umi}).drop_duplicates()
    counts = molecules.groupby(["barcode", "gene"]).size().rename("n").reset_index()
    counts.to_parquet(folder / "umis.parquet")
    (folder / "cells.txt").write_text("\n".join(names[:N_CELLS]))


def _write(folder: Path, library: str, blocks: Iterator[dict]) -> None:
    from epifoundation.simulate.reads import fastq_bytes

    n = 1
    for block in blocks:
        for read, parts in block.items():
            with gzip.open(folder / f"{library}_{read}.fastq.gz", "ab", compresslevel=1) as handle:
                handle.write(fastq_bytes(n, 1, read, *parts))
        n += len(parts[0])


def manifest() -> pd.DataFrame:
    """Return the rows of contracts.MANIFEST that the aligner reads."""
    reads = [("gex", "R1"), ("gex", "R2"), ("atac", "R1"), ("atac", "R2"), ("atac", "R3")]
    rows = [(f"{library}_{read}.fastq.gz", library, "L001", read) for library, read in reads]
    return pd.DataFrame(rows, columns=["file", "library", "lane", "read"])


def barcode_step(folder: Path) -> dict[str, float]:
    """Read, find, count and correct barcodes; what comes out is interleaved FASTQ, thrown away."""
    from epifoundation.align.atac import corrected_pairs
    from epifoundation.align.barcodes import count_exact, detect_layout, read_whitelists
    from epifoundation.align.fastq import lanes_of
    from epifoundation.align.sam import Tally

    lanes = lanes_of(manifest(), "atac", folder)
    _, atac = read_whitelists(None, None)
    layouts = [detect_layout(lane.files["R2"], atac) for lane in lanes]
    counts, n_pairs = count_exact(lanes, layouts, atac)
    tally = Tally(len(atac))
    with (folder / "interleaved.fastq").open("wb") as handle:
        for text in corrected_pairs(lanes, layouts, atac, counts, tally):
            handle.write(text)
    return {"n_pairs": n_pairs, "with_barcode": round(int(tally.raw.sum()) / n_pairs, 4)}


def bwa_alone(folder: Path) -> dict[str, float]:
    """Align what the barcode step wrote, and throw the alignments away."""
    command = ["bwa", "mem", "-p", "-t", "1", "-K", "20000000", "genome.fa", "interleaved.fastq"]
    null = subprocess.DEVNULL
    subprocess.run(command, cwd=folder, check=True, stdout=null, stderr=null)
    return {}


def atac_whole(folder: Path) -> dict[str, float]:
    """Make the fragments, barcodes of one nucleus included; compare with what was planted."""
    from epifoundation.align.atac import make_fragments
    from epifoundation.align.barcodes import read_whitelists
    from epifoundation.align.fastq import lanes_of
    from epifoundation.align.gex import read_tss

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = make_fragments(
            lanes_of(manifest(), "atac", folder),
            read_whitelists(None, None),
            folder / "genome.fa",
            folder / "fragments.tsv.gz",
            sample="planted",
            min_mapping_quality=30,
            bwa_options=[],
            mitochondrial="chrM",
            tss=read_tss(folder / "star"),
            threads=1,
            scratch=Path(scratch),
        )
    np.save(folder / "n_fragments.npy", made.fragments)
    names = ["chrom", "start", "end", "barcode", "count"]
    found = pd.read_csv(
        folder / "fragments.tsv.gz", sep="\t", comment="#", header=None, names=names
    )
    planted = pd.read_parquet(folder / "fragments.parquet")
    both = len(found.merge(planted, on=names[:4]))
    return {
        "n_pairs": made.n_read,
        "planted_found": round(both / len(planted), 5),
        "found_planted": round(both / len(found), 5),
        "wrongly_excluded": int((made.excluded > 0).sum()),
    }


def gex_whole(folder: Path) -> dict[str, float]:
    """Count the genes and call cells on both; compare with what was planted."""
    from epifoundation.align.barcodes import read_whitelists
    from epifoundation.align.calling import call_cells
    from epifoundation.align.fastq import lanes_of
    from epifoundation.align.gex import count_genes

    gex, _ = read_whitelists(None, None)
    lanes = lanes_of(manifest(), "gex", folder)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = count_genes(lanes, gex, folder / "star", threads=1, scratch=Path(scratch))
    names = np.char.add(gex.barcodes.astype(str), "-1")
    coo = made.matrix.tocoo()
    gene = made.genes["gene_id"].str[1:].astype(int).to_numpy()
    found = pd.DataFrame({"barcode": names[coo.row], "gene": gene[coo.col], "found": coo.data})
    planted = pd.read_parquet(folder / "umis.parquet")
    both = planted.merge(found, on=["barcode", "gene"], how="outer").fillna(0)
    umis = np.asarray(made.matrix.sum(axis=1)).ravel().astype(np.int64)
    cells = set(names[call_cells(np.load(folder / "n_fragments.npy"), umis)])
    known = set((folder / "cells.txt").read_text().split())
    return {
        "n_pairs": made.n_read,
        "counts_exact": round(float((both["n"] == both["found"]).mean()), 5),
        "umis_planted": int(planted["n"].sum()),
        "umis_found": int(found["found"].sum()),
        "cells_planted": len(known),
        "cells_found": len(cells & known),
        "cells_wrong": len(cells - known),
    }


STEPS: dict[str, Callable[[Path], dict[str, float]]] = {
    "barcode_step": barcode_step,
    "bwa_alone": bwa_alone,
    "atac": atac_whole,
    "gex_and_cells": gex_whole,
}


def measure(step: str, folder: Path) -> dict[str, float]:
    """Run a step; return what it found, its wall and CPU seconds, and its largest memory."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    began = time.perf_counter()
    found = STEPS[step](folder)
    seconds = time.perf_counter() - began
    use = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(each.ru_utime + each.ru_stime for each in use)
    times = {"seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1)}
    return found | times | {"peak_memory_mb": peak_memory_mb()}


def main() -> None:
    """Make the reads, run each step in a process of its own, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        logging.basicConfig(level=logging.INFO)
        print(json.dumps(measure(args.step, args.folder)))
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    if not (args.folder / "cells.txt").exists():
        make_reference(args.folder)
        make_reads(args.folder)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
    results: dict[str, object] = {"machine": machine, "barcodes_of_the_list": 736_320}
    for step in STEPS:
        command = [sys.executable, "-m", "benchmarks.align", "--folder", str(args.folder)]
        ended = subprocess.run(
            [*command, "--output", "-", "--step", step],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        results[step] = json.loads(ended.stdout)
        args.output.write_text(json.dumps(results, indent=1) + "\n")
    args.output.write_text(json.dumps(results | rates(results), indent=1) + "\n")


def rates(results: dict) -> dict[str, float]:
    """Return read pairs a second and core of each step, and the ratio that must be below 1."""
    n_pairs = results["barcode_step"]["n_pairs"]
    pairs = {step: results[step].get("n_pairs", n_pairs) for step in STEPS}
    speed = {step: round(pairs[step] / results[step]["cpu_seconds"]) for step in STEPS}
    ratio = results["barcode_step"]["cpu_seconds"] / results["bwa_alone"]["cpu_seconds"]
    return {"pairs_per_second_and_core": speed, "barcode_step_to_bwa": round(ratio, 3)}


if __name__ == "__main__":
    main()
