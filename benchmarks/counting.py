"""File to peak matrix, against SnapATAC2 on the same gzipped fragments.

    python benchmarks/counting.py --folder /tmp/counting --output benchmarks/counting.json

Simulates sorted fragments (3,000 cells, 100,000 peaks, 45 % of the fragments in peaks), then runs
each way in a process of its own: wall seconds, CPU seconds, largest resident memory. Ways of one
size run in one call, since ratios within a run are what carries over to another machine. `--sizes`
and `--ways` choose; results are added to the output, so that long sizes can be run apart.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

N_CELLS, N_PEAKS, PEAK_BP = 3_000, 100_000, 500
IN_PEAKS = 0.45
N_AMBIENT = 20_000  # barcodes that are no cells, with a tenth of the fragments
SIZES_MB = {"chr1": 249, "chr2": 242, "chr3": 198, "chr4": 190, "chr5": 182, "chr6": 171}
SIZES_MB |= {"chr7": 159, "chr8": 145, "chr9": 138, "chr10": 134, "chr11": 135, "chr12": 133}
SIZES_MB |= {"chr13": 114, "chr14": 107, "chr15": 102, "chr16": 90, "chr17": 83, "chr18": 80}
SIZES_MB |= {"chr19": 58, "chr20": 64, "chr21": 46, "chr22": 51, "chrX": 156, "chrY": 57}


def simulate(folder: Path, n_fragments: int) -> Path:
    """Write the fragments (bgzipped), peaks, barcodes and genes of one size unless there."""
    import polars as pl
    import pysam

    target = folder / f"fragments_{n_fragments}.tsv.gz"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    names, sizes = np.array(list(SIZES_MB)), np.array(list(SIZES_MB.values())) * 1_000_000
    share = sizes / sizes.sum()
    barcodes = _barcodes(random, N_CELLS + N_AMBIENT)
    (folder / "barcodes.txt").write_text("".join(f"{name}\n" for name in barcodes[:N_CELLS]))
    plain = folder / "fragments.partial.tsv"
    peaks = []
    with plain.open("wb") as handle:
        for name, size, part in zip(names, sizes, share, strict=True):
            n_peaks = round(part * N_PEAKS)
            slots = np.sort(random.choice(size // (2 * PEAK_BP), n_peaks, replace=False))
            peak = slots * 2 * PEAK_BP + random.integers(0, PEAK_BP, n_peaks)
            peaks.append(pd.DataFrame({"chrom": name, "start": peak, "end": peak + PEAK_BP}))
            n = round(part * n_fragments)
            near = random.random(n) < IN_PEAKS
            start = random.integers(0, size - 1_000, n)
            start[near] = random.choice(peak, int(near.sum())) + random.integers(0, 350, near.sum())
            width = np.clip(random.gamma(2.0, 80.0, n), 20, 990).astype(np.int64)
            ambient = random.random(n) < 0.1
            cell = random.integers(0, N_CELLS, n)
            cell[ambient] = N_CELLS + random.integers(0, N_AMBIENT, int(ambient.sum()))
            table = pl.DataFrame(
                {
                    "start": start,
                    "end": start + width,
                    "barcode": cell,
                    "n": random.geometric(0.6, n),
                }
            ).sort("start", "end")
            table = table.with_columns(
                pl.lit(str(name)).alias("chrom"),
                pl.Series(barcodes.tolist()).gather(table["barcode"]).alias("barcode"),
            ).select("chrom", "start", "end", "barcode", "n")
            table.write_csv(handle, include_header=False, separator="\t")
    pd.concat(peaks).to_csv(folder / "peaks.bed", sep="\t", header=False, index=False)
    pysam.tabix_compress(str(plain), str(target), force=True)
    plain.unlink()
    return target


def _barcodes(random: np.random.Generator, n: int) -> np.ndarray:
    letters = random.choice(list("ACGT"), (2 * n, 16))
    return np.unique(["".join(row) + "-1" for row in letters])[:n][random.permutation(n)]


def genes() -> pd.DataFrame:
    """Return twenty thousand protein-coding genes, as `read_genes` gives them."""
    random = np.random.default_rng(1)
    sizes = np.array(list(SIZES_MB.values())) * 1_000_000
    row = random.choice(len(sizes), 20_000, p=sizes / sizes.sum())
    start = (random.random(20_000) * (sizes[row] - 100_000)).astype(np.int64)
    return pd.DataFrame(
        {
            "gene_id": [f"G{i}" for i in range(20_000)],
            "gene_name": [f"G{i}" for i in range(20_000)],
            "gene_type": "protein_coding",
            "chrom": np.array(list(SIZES_MB))[row],
            "start": start,
            "end": start + 20_000,
            "strand": random.choice(["+", "-"], 20_000),
        }
    )


def count(folder: Path, fragments: Path) -> int:
    from epifoundation.data.fragments import count_fragments_in_peaks
    from epifoundation.data.regions import read_bed

    barcodes = (folder / "barcodes.txt").read_text().split()
    peaks = read_bed(folder / "peaks.bed")
    return int(count_fragments_in_peaks(fragments, peaks, barcodes, keep_absent=True).X.sum())


def count_with_qc(folder: Path, fragments: Path) -> int:
    import anndata as ad
    from scipy import sparse

    from epifoundation.data.qc import count_and_measure
    from epifoundation.data.regions import read_bed

    barcodes = (folder / "barcodes.txt").read_text().split()
    peaks = read_bed(folder / "peaks.bed")
    rna = ad.AnnData(
        sparse.csr_matrix((len(barcodes), 2), dtype=np.int32),
        obs=pd.DataFrame(index=barcodes),
        var=pd.DataFrame({"chrom": ["chr1", "chrM"]}, index=["A", "B"]),
    )
    counts, _ = count_and_measure(
        fragments,
        peaks,
        rna,
        genes(),
        peaks[::100].reset_index(drop=True),
        mitochondrial="chrM",
    )
    return int(counts.X.sum())


def snapatac2(folder: Path, fragments: Path) -> int:
    import snapatac2

    sizes = {name: size * 1_000_000 for name, size in SIZES_MB.items()}
    data = snapatac2.pp.import_fragments(
        fragments,
        sizes,
        whitelist=folder / "barcodes.txt",
        min_num_fragments=0,
        sorted_by_barcode=False,
        tempdir=folder,
    )
    matrix = snapatac2.pp.make_peak_matrix(data, peak_file=folder / "peaks.bed")
    return int(matrix.X.sum())


WAYS: dict[str, Callable[[Path, Path], int]] = {
    "epifoundation": count,
    "epifoundation_with_qc": count_with_qc,
    "snapatac2": snapatac2,
}


def measured(way: str, folder: Path, fragments: Path) -> dict[str, float]:
    """Run one way in a process of its own and return what it took."""
    command = [sys.executable, __file__, "--folder", str(folder), "--run", way, str(fragments)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        sys.exit(f"{way} failed")
    return {
        **json.loads(output.splitlines()[-1]),
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_memory_mib": round(usage.ru_maxrss / 1024),
    }


def run(way: str, folder: Path, fragments: Path) -> None:
    start = time.perf_counter()
    total = WAYS[way](folder, fragments)
    print(json.dumps({"work_seconds": round(time.perf_counter() - start, 2), "sum": total}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000_000])
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    parser.add_argument("--run", nargs=2)
    given = parser.parse_args()
    if given.run:
        return run(given.run[0], given.folder, Path(given.run[1]))
    for n_fragments in given.sizes:
        fragments = simulate(given.folder, n_fragments)
        for way in given.ways:
            print(way, n_fragments, measured(way, given.folder, fragments), flush=True)
    return None


if __name__ == "__main__":
    main()
