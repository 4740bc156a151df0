"""Genes on chromosomes, and the GTF that describes them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

SCAFFOLD = "KI270728.1"
MITOCHONDRION = "chrM"
MITOCHONDRIAL_BP = 16_569
SCAFFOLD_BP = 60_000
MITOCHONDRIAL_GENES = (  # in the order of the human mitochondrion
    *("ND1", "ND2", "CO1", "CO2", "ATP8", "ATP6", "CO3"),
    *("ND3", "ND4L", "ND4", "ND5", "ND6", "CYB"),
)
LONG_GAP_SHARE = 0.14  # gene-poor stretches, so that distal regions lie beyond 10 kb
BLACKLIST_BP = 5_000


@dataclass(frozen=True)
class Annotation:
    """Where genes lie; coordinates are 0-based, half-open.

    `genes`: gene_id gene_name gene_type chrom start end strand tss, in genome order, mitochondrial
    genes last. `exons`: gene (row of `genes`) start end, ascending within a gene. `blacklist`:
    chrom start end, without genes or regions.
    """

    genes: pd.DataFrame
    exons: pd.DataFrame
    blacklist: pd.DataFrame
    chrom_sizes: dict[str, int]

    @property
    def chromosomes(self) -> list[str]:
        """Nuclear chromosomes, in order."""
        return [name for name in self.chrom_sizes if name not in (MITOCHONDRION, SCAFFOLD)]


def place_genes(n_genes: int, n_chromosomes: int, rng: np.random.Generator) -> Annotation:
    """Place genes that do not overlap: dense islands between gene-poor stretches of 10-40 kb."""
    exons = _exons(n_genes, rng)
    body = exons.groupby("gene")["end"].max().to_numpy()
    long_gap = rng.random(n_genes) < LONG_GAP_SHARE
    gap = 400 + rng.exponential(500, n_genes)
    gap[long_gap] = rng.uniform(10_000, 40_000, long_gap.sum())
    gap = gap.astype(np.int64)
    chromosome = np.arange(n_genes) * n_chromosomes // n_genes
    first = np.append(True, chromosome[1:] != chromosome[:-1])
    gap[first] = 20_000
    reach = np.cumsum(gap + body)
    start = reach - body - (reach - gap - body)[first][chromosome]
    names = np.array([f"chr{i + 1}" for i in range(n_chromosomes)], dtype=object)
    genes = pd.DataFrame(
        {
            "gene_id": [f"ENSG{i + 1:011d}" for i in range(n_genes)],
            "gene_name": [f"GENE{i + 1}" for i in range(n_genes)],
            "gene_type": np.where(rng.random(n_genes) < 0.85, "protein_coding", "lncRNA"),
            "chrom": names[chromosome],
            "start": start,
            "end": start + body,
            "strand": rng.choice(["+", "-"], n_genes),
        }
    )
    exons = exons.assign(
        start=exons["start"] + start[exons["gene"]], end=exons["end"] + start[exons["gene"]]
    )
    sizes = {name: int(genes.loc[genes["chrom"] == name, "end"].max()) + 20_000 for name in names}
    longest = np.flatnonzero(gap > 25_000)
    hidden = np.sort(rng.choice(longest, min(max(2, n_genes // 300), len(longest)), replace=False))
    middle = start[hidden] - gap[hidden] // 2
    blacklist = pd.DataFrame(
        {
            "chrom": names[chromosome[hidden]],
            "start": middle - BLACKLIST_BP // 2,
            "end": middle + BLACKLIST_BP // 2,
        }
    )
    return _with_mitochondrion(genes, exons, blacklist, sizes)


def _exons(n_genes: int, rng: np.random.Generator) -> pd.DataFrame:
    """Exons of every gene relative to its start; introns of 100-500 bp between them."""
    n_exons = rng.integers(1, 5, n_genes)
    gene = np.repeat(np.arange(n_genes), n_exons)
    length = rng.integers(200, 450, len(gene))
    intron = rng.integers(100, 500, len(gene))
    first = np.append(True, gene[1:] != gene[:-1])
    length[first] += 250
    intron[first] = 0
    reach = np.cumsum(intron + length)
    end = reach - np.repeat((reach - length)[first], n_exons)
    return pd.DataFrame({"gene": gene, "start": end - length, "end": end})


def _with_mitochondrion(
    genes: pd.DataFrame, exons: pd.DataFrame, blacklist: pd.DataFrame, sizes: dict[str, int]
) -> Annotation:
    n_genes, n = len(genes), len(MITOCHONDRIAL_GENES)
    start = 600 + 1_200 * np.arange(n)
    mitochondrial = pd.DataFrame(
        {
            "gene_id": [f"ENSG{90_000_000_000 + i}" for i in range(n)],
            "gene_name": [f"MT-{name}" for name in MITOCHONDRIAL_GENES],
            "gene_type": "protein_coding",
            "chrom": MITOCHONDRION,
            "start": start,
            "end": start + 1_000,
            "strand": ["-" if name == "ND6" else "+" for name in MITOCHONDRIAL_GENES],
        }
    )
    more = pd.DataFrame({"gene": n_genes + np.arange(n), "start": start, "end": start + 1_000})
    genes = pd.concat([genes, mitochondrial], ignore_index=True)
    genes["tss"] = np.where(genes["strand"] == "+", genes["start"], genes["end"] - 1)
    return Annotation(
        genes,
        pd.concat([exons, more], ignore_index=True),
        blacklist,
        {**sizes, MITOCHONDRION: MITOCHONDRIAL_BP, SCAFFOLD: SCAFFOLD_BP},
    )


def gtf_lines(annotation: Annotation) -> list[str]:
    """Return the lines of a 10x-style GTF (1-based, closed): gene, transcript, exons."""
    lines = ["##description: simulated genes", "##format: gtf"]
    genes, exons = annotation.genes, annotation.exons
    first = np.searchsorted(exons["gene"], np.arange(len(genes) + 1)).tolist()
    spans = list(zip(exons["start"].tolist(), exons["end"].tolist(), strict=True))
    columns = ["gene_id", "gene_type", "gene_name", "chrom", "start", "end", "strand"]
    for number, row in enumerate(zip(*(genes[c].tolist() for c in columns), strict=True)):
        gene_id, gene_type, gene_name, chrom, start, end, strand = row
        name = gene_id.replace("ENSG", "ENST")
        shared = f'gene_type "{gene_type}"; gene_name "{gene_name}"; '
        gene = f'gene_id "{gene_id}"; gene_version "1"; {shared}level 2;'
        transcript = (
            f'gene_id "{gene_id}"; gene_version "1"; transcript_id "{name}"; '
            f'transcript_version "1"; {shared}transcript_type "{gene_type}"; '
            f'transcript_name "{gene_name}-201"; level 2;'
        )
        place = f"{start + 1}\t{end}\t.\t{strand}\t."
        lines.append(f"{chrom}\tSIMULATED\tgene\t{place}\t{gene}")
        lines.append(f"{chrom}\tSIMULATED\ttranscript\t{place}\t{transcript}")
        own = spans[first[number] : first[number + 1]]
        for rank, (low, high) in enumerate(own if strand == "+" else own[::-1], start=1):
            place = f"{low + 1}\t{high}\t.\t{strand}\t."
            lines.append(
                f"{chrom}\tSIMULATED\texon\t{place}\t{transcript} exon_number {rank};"
                f' exon_id "{name}.{rank}";'
            )
    return lines
