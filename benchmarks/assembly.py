"""An atlas far larger than memory allows: assembled, numbered, tokenised, one process a step.

    python benchmarks/assembly.py --folder /tmp/assembly --output benchmarks/assembly.json

Makes samples of random counts (by default 20 of 5,000 cells × 300,000 peaks, some 5,000 of them
open in a cell, and 36,601 genes, some 2,000 of them expressed), and records of each step the wall
seconds, the largest resident memory and the size of what it wrote. Inputs that lie in the folder
already are used again; it takes some 6 GB.
"""

import argparse
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
from scipy import sparse

N_PEAKS, N_GENES = 300_000, 36_601
OPEN_PEAKS, EXPRESSED_GENES = 5_000, 2_000


def random_counts(
    rng: np.random.Generator, n_cells: int, n_features: int, n_stored: int, largest: int
) -> sparse.csr_matrix:
    """Return counts of about `n_stored` features a cell, at random distances from each other."""
    mean = n_features // n_stored
    steps = rng.integers(1, 2 * mean, size=(n_cells, n_stored), dtype=np.int32)
    columns = np.cumsum(steps, axis=1, dtype=np.int32)
    kept = columns < n_features
    indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    values = np.minimum(rng.geometric(0.6, size=indptr[-1]), largest).astype(np.int32)
    return sparse.csr_matrix((values, columns[kept], indptr), shape=(n_cells, n_features))


def make_sample(path: Path, seed: int, n_cells: int) -> None:
    """Write one sample's multiome, as rule filter_cells does."""
    import anndata as ad

    from epifoundation.multiome import multiome, write_multiome

    rng, name = np.random.default_rng(seed), path.stem
    cells = pd.DataFrame(index=[f"{name}#{i:06d}-1" for i in range(n_cells)])
    starts = np.arange(N_PEAKS) * 1_000
    peaks = pd.DataFrame({"chrom": "chr1", "start": starts, "end": starts + 500})
    peaks.index = pd.Index("chr1:" + peaks["start"].astype(str) + "-" + peaks["end"].astype(str))
    genes = pd.DataFrame({"gene_id": [f"ENSG{i:011d}" for i in range(N_GENES)], "chrom": "chr1"})
    genes.index = pd.Index([f"gene{i}" for i in range(N_GENES)])
    said = {"sample": name, "barcode": cells.index, "batch": name, "tissue": "blood", "donor": "d"}
    obs = cells.assign(**said, cell_type=rng.choice(["B", "T", "NK"], n_cells))
    rna = random_counts(rng, n_cells, N_GENES, EXPRESSED_GENES, 100)
    atac = random_counts(rng, n_cells, N_PEAKS, OPEN_PEAKS, 6)
    parts = (ad.AnnData(rna, obs=cells, var=genes), ad.AnnData(atac, obs=cells, var=peaks))
    write_multiome(multiome(*parts, obs), path)


def assemble(samples: list[Path], folder: Path) -> Path:
    """Write the atlas."""
    from epifoundation.data.assembly import write_atlas

    output = folder / "atlas.h5mu"
    write_atlas(samples, [], output, label_source="given", config_hash="")
    return output


def build_vocabulary(_: list[Path], folder: Path) -> Path:
    """Write the vocabulary of the atlas."""
    from epifoundation.data.multiome_rows import MultiomeRows
    from epifoundation.data.vocabulary import build_vocabulary

    build_vocabulary(MultiomeRows.open(folder / "atlas.h5mu")).write(folder / "vocabulary")
    return folder / "vocabulary"


def tokenize_cells(_: list[Path], folder: Path) -> Path:
    """Write the token store of the atlas."""
    from epifoundation.data.multiome_rows import MultiomeRows
    from epifoundation.data.tokens import write_store
    from epifoundation.data.vocabulary import Vocabulary

    rows = MultiomeRows.open(folder / "atlas.h5mu")
    write_store(rows, Vocabulary.read(folder / "vocabulary"), folder / "store")
    return folder / "store"


def write_cellxgene(_: list[Path], folder: Path) -> Path:
    """Write the RNA of the atlas as CELLxGENE takes it, with principal components."""
    from epifoundation.data.cellxgene import write_cellxgene
    from epifoundation.data.multiome_rows import MultiomeRows

    rows = MultiomeRows.open(folder / "atlas.h5mu")
    output = folder / "atlas.cellxgene.h5ad"
    write_cellxgene(rows, output, title="atlas", sample_terms=None, accepted_genes=None)
    return output


STEPS: dict[str, Callable[[list[Path], Path], Path]] = {
    "assemble": assemble,
    "build_vocabulary": build_vocabulary,
    "tokenize_cells": tokenize_cells,
    "write_cellxgene": write_cellxgene,
}


def peak_memory_mb() -> int:
    """Return the largest resident memory of this program; getrusage would count its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 2**10


def size_mb(path: Path) -> float:
    """Return how much a file or folder holds, in 2**20 bytes."""
    files = [path] if path.is_file() else list(path.rglob("*"))
    return round(sum(file.stat().st_size for file in files) / 2**20, 1)


def main() -> None:
    """Make the samples, run each step in a process of its own, add its figures to the output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--cells", type=int, default=5_000)
    parser.add_argument("--steps", nargs="*", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    samples = [args.folder / f"s{i}.h5mu" for i in range(args.samples)]
    if args.step:
        began = time.perf_counter()
        made = STEPS[args.step](samples, args.folder)
        seconds = round(time.perf_counter() - began, 1)
        found = {"seconds": seconds, "peak_memory_mb": peak_memory_mb()}
        print(json.dumps(found | {"output_mb": size_mb(made)}))
        return
    for seed, path in enumerate(samples):
        if not path.exists():
            make_sample(path, seed, args.cells)
    results = json.loads(args.output.read_text()) if args.output.exists() else {}
    results |= {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}",
        "samples": args.samples,
        "cells": args.samples * args.cells,
        "peaks": N_PEAKS,
        "genes": N_GENES,
        "input_mb": round(sum(size_mb(path) for path in samples), 1),
    }
    for step in args.steps:
        command = [sys.executable, __file__, "--folder", str(args.folder), "--output", "-"]
        command += ["--samples", str(args.samples), "--cells", str(args.cells), "--step", step]
        ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results[step] = json.loads(ended.stdout)
        args.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
