"""File to peak matrix, against SnapATAC2 on the same gzipped fragments.

    python benchmarks/counting.py --folder /tmp/counting --output benchmarks/counting.json

Simulates sorted fragments (3,000 cells, 100,000 peaks, 45 % of the fragments in peaks), then runs
each way in a process of its own: wall seconds, CPU seconds, largest resident memory. Ways of one
size run in one call, since ratios within a run are what carries over to another machine. `--sizes`
and `--ways` choose; results are added to the output, so that long sizes can be run apart.
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

N_CELLS, N_PEAKS, PEAK_BP = 3_000, 100_000, 500
IN_PEAKS = 0.45
THREADS = 2
N_AMBIENT = 20_000  # barcodes that are no cells, with a tenth of the fragments
SIZES_MB = {"chr1": 249, "chr2": 242, "chr3": 198, "chr4": 190, "chr5": 182, "chr6": 171}
SIZES_MB |= {"chr7": 159, "chr8": 145, "chr9": 138, "chr10": 134, "chr11": 135, "chr12": 133}
SIZES_MB |= {"chr13": 114, "chr14": 107, "chr15": 102, "chr16": 90, "chr17": 83, "chr18": 80}
SIZES_MB |= {"chr19": 58, "chr20": 64, "chr21": 46, "chr22": 51, "chrX": 156, "chrY": 57}


def simulate(folder: Path, n_fragments: int) -> Path:
    """Write the fragments (bgzipped) of one size, peaks and barcodes, unless there."""
    target = folder / f"fragments_{n_fragments}.tsv.gz"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    barcodes, peaks = _cells_and_peaks(np.random.default_rng(0))
    (folder / "barcodes.txt").write_text("".join(f"{name}\n" for name in barcodes[:N_CELLS]))
    peaks.to_csv(folder / "peaks.bed", sep="\t", header=False, index=False)
    random = np.random.default_rng(n_fragments)
    genome_mb = sum(SIZES_MB.values())
    with target.with_suffix(".partial").open("wb") as output:
        bgzip = subprocess.Popen(["bgzip", "-@2", "-c"], stdin=subprocess.PIPE, stdout=output)
        for name, size_mb in SIZES_MB.items():
            starts = peaks["start"][peaks["chrom"] == name].to_numpy()
            n = round(n_fragments * size_mb / genome_mb)
            table = _fragments(random, n, size_mb * 1_000_000, starts, barcodes)
            table.insert_column(0, pl.lit(name).alias("chrom"))
            table.write_csv(bgzip.stdin, include_header=False, separator="\t")
        bgzip.communicate()
    target.with_suffix(".partial").rename(target)
    return target


def _cells_and_peaks(random: np.random.Generator) -> tuple[np.ndarray, pd.DataFrame]:
    n = N_CELLS + N_AMBIENT
    letters = random.choice(list("ACGT"), (2 * n, 16))
    barcodes = np.unique(["".join(row) + "-1" for row in letters])[:n][random.permutation(n)]
    parts = []
    for name, size_mb in SIZES_MB.items():
        n_peaks = round(N_PEAKS * size_mb / sum(SIZES_MB.values()))
        slot = np.sort(random.choice(size_mb * 1_000_000 // (2 * PEAK_BP), n_peaks, replace=False))
        start = slot * 2 * PEAK_BP + random.integers(0, PEAK_BP, n_peaks)
        parts.append(pd.DataFrame({"chrom": name, "start": start, "end": start + PEAK_BP}))
    return barcodes, pd.concat(parts)


def _fragments(
    random: np.random.Generator, n: int, size: int, peaks: np.ndarray, barcodes: np.ndarray
) -> pl.DataFrame:
    start = random.integers(0, size - 1_000, n)
    near = random.random(n) < IN_PEAKS
    start[near] = random.choice(peaks, near.sum()) + random.integers(0, 350, near.sum())
    width = np.clip(random.gamma(2.0, 80.0, n), 20, 990).astype(np.int64)
    cell = random.integers(0, N_CELLS, n)
    ambient = random.random(n) < 0.1
    cell[ambient] = N_CELLS + random.integers(0, N_AMBIENT, ambient.sum())
    columns = {"start": start, "end": start + width, "barcode": cell}
    table = pl.DataFrame({**columns, "n": random.geometric(0.6, n)}).sort("start", "end")
    return table.with_columns(barcode=pl.Series(barcodes.tolist()).gather(table["barcode"]))


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
    """Count as `epifoundation count` does."""
    from epifoundation.data.fragments import count_fragments_in_peaks

    peaks, barcodes = _peaks_and_barcodes(folder)
    counts = count_fragments_in_peaks(fragments, peaks, barcodes, keep_absent=True, threads=THREADS)
    return int(counts.X.sum())


def count_with_qc(folder: Path, fragments: Path) -> int:
    """Count and measure as the rule `count` does."""
    import anndata as ad
    from scipy import sparse

    from epifoundation.data.qc import count_and_measure

    peaks, barcodes = _peaks_and_barcodes(folder)
    rna = ad.AnnData(
        sparse.csr_matrix((len(barcodes), 2), dtype=np.int32),
        obs=pd.DataFrame(index=barcodes),
        var=pd.DataFrame({"chrom": ["chr1", "chrM"]}, index=["A", "B"]),
    )
    blacklist = peaks[::100].reset_index(drop=True)
    counts, _ = count_and_measure(
        fragments, peaks, rna, genes(), blacklist, mitochondrial="chrM", threads=THREADS
    )
    return int(counts.X.sum())


def _peaks_and_barcodes(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    from epifoundation.data.peak_files import read_peaks

    return read_peaks(folder / "peaks.bed"), (folder / "barcodes.txt").read_text().split()


def snapatac2(folder: Path, fragments: Path) -> int:
    """Import fragments and make the peak matrix, by its defaults but for keeping all cells."""
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
    """Run one way in a process of its own and return what it took, start included."""
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


def ratios(runs: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return what the runs of one size and one call say beside each other."""
    own, measuring, other = (runs.get(way) for way in WAYS)
    found = {}
    for name in ("wall_seconds", "cpu_seconds", "peak_memory_mib"):
        if own and other:
            found[f"snapatac2_over_own_{name}"] = round(other[name] / own[name], 2)
        if own and measuring:
            found[f"with_qc_over_own_{name}"] = round(measuring[name] / own[name], 2)
    return found


def run(way: str, folder: Path, fragments: Path) -> None:
    """Run one way and print what it took once its modules were loaded."""
    importlib.import_module("snapatac2" if way == "snapatac2" else "epifoundation.data.qc")
    start = time.perf_counter()
    total = WAYS[way](folder, fragments)
    print(json.dumps({"work_seconds": round(time.perf_counter() - start, 2), "n_counts": total}))


def main() -> None:
    """Read the command line; simulate, measure, add to the output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000_000])
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        return run(given.run[0], given.folder, Path(given.run[1]))
    there = given.output is not None and given.output.exists()
    results = json.loads(given.output.read_text()) if there else {}
    results["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, {THREADS} threads"
    for n_fragments in given.sizes:
        fragments = simulate(given.folder, n_fragments)
        runs = {way: measured(way, given.folder, fragments) for way in given.ways}
        for row in runs.values():
            row["microseconds_per_fragment"] = round(row["work_seconds"] / n_fragments * 1e6, 3)
        print(json.dumps({n_fragments: {**runs, **ratios(runs)}}, indent=1), flush=True)
        results.setdefault(str(n_fragments), {}).update({**runs, "ratios": ratios(runs)})
    if given.output and given.ways:
        given.output.write_text(json.dumps(results, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
