"""A project in the layout of the authors' released MiniAtlas, from its files to token stores.

    python -m benchmarks.released --folder /tmp/released --output benchmarks/released.json

Makes an atlas of 20 samples and an evaluation set of 4 (by default 1,500 cells, 200,000 peaks, some
3,000 of them open in a cell, and 36,601 genes, some 1,500 expressed) as pairs of .h5ad with
`annot` and `batch`, peaks named chr-start-end, binary ATAC and log-normalised RNA. Records of each
step, in a process of its own, the wall seconds, the largest resident memory and the size of what it
wrote. Files that lie in the folder already are used again.
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

from benchmarks.assembly import peak_memory_mb, random_counts, size_mb

N_PEAKS, N_GENES = 200_000, 36_601
OPEN_PEAKS, EXPRESSED_GENES = 3_000, 1_500
SETS = {"full_atlas": 20, "bmmc_atlas": 4}  # samples of each


def make_files(folder: Path, name: str, n_cells: int) -> None:
    """Write <name>_rna.h5ad and <name>_atac.h5ad, a sample at a time."""
    import anndata as ad
    import h5py
    from scipy import sparse

    from epifoundation.data.csr_files import RowAppender
    from epifoundation.data.expression import log_normalize

    seed = list(SETS).index(name)
    rng = np.random.default_rng(seed)
    total = SETS[name] * n_cells
    batches = [f"GSM{seed}{i:02d}_GSM{seed}{i + 50}" for i in range(SETS[name])]
    obs = pd.DataFrame({"batch": np.repeat(batches, n_cells)})
    obs["annot"] = rng.choice(["B cell", "T cell", "Monocyte", "NK cell"], total)
    obs.index = pd.Index([f"{name}_{i}-1" for i in range(total)])
    starts = np.arange(N_PEAKS) * 1_000 + 1
    peaks = pd.DataFrame(index=[f"chr1-{start}-{start + 499}" for start in starts])
    genes = pd.DataFrame(index=[f"gene{i}" for i in range(N_GENES)])
    for kind, var in (("rna", genes), ("atac", peaks)):
        path = folder / f"{name}_{kind}.h5ad"
        empty = sparse.csr_matrix((total, len(var)), dtype=np.float32)
        ad.AnnData(empty, obs=obs, var=var).write_h5ad(path)
        with (
            h5py.File(path, "r+") as file,
            RowAppender([file["X"]], [np.dtype(np.float32)]) as rows,
        ):
            for _ in batches:
                if kind == "rna":
                    counts = random_counts(rng, n_cells, N_GENES, EXPRESSED_GENES, 100)
                    rows.append(counts, log_normalize(counts).data.astype(np.float32))
                else:
                    counts = random_counts(rng, n_cells, N_PEAKS, OPEN_PEAKS, 1)
                    rows.append(counts, np.ones(counts.nnz, np.float32))


def import_files(folder: Path) -> Path:
    """Write the cells of both sets, as rule import_matrices does."""
    from epifoundation.data.paired_files import import_cells
    from epifoundation.samples import COLUMNS, Sample

    for name in SETS:
        sample = Sample(**dict.fromkeys(COLUMNS, "") | {"sample": name, "tissue": "several"})
        pair = [folder / f"{name}_{kind}.h5ad" for kind in ("rna", "atac")]
        output = folder / f"{name}.cells.h5mu"
        import_cells(*pair, output, sample, None, None, mitochondrial="chrM", large=0)
    return folder / "full_atlas.cells.h5mu"


def assemble(folder: Path) -> Path:
    """Write both data sets."""
    from epifoundation.data.assembly import write_atlas

    for name in SETS:
        cells = [folder / f"{name}.cells.h5mu"]
        write_atlas(cells, [], folder / f"{name}.h5mu", label_source="given", config_hash="")
    return folder / "full_atlas.h5mu"


def build_vocabulary(folder: Path) -> Path:
    """Write the vocabulary of the atlas."""
    from epifoundation.data.multiome_rows import MultiomeRows
    from epifoundation.data.vocabulary import build_vocabulary

    build_vocabulary(MultiomeRows.open(folder / "full_atlas.h5mu")).write(folder / "vocabulary")
    return folder / "vocabulary"


def tokenize_cells(folder: Path) -> Path:
    """Write the token stores of both data sets, in the atlas's vocabulary."""
    from epifoundation.data.multiome_rows import MultiomeRows
    from epifoundation.data.tokens import write_store
    from epifoundation.data.vocabulary import Vocabulary

    vocabulary = Vocabulary.read(folder / "vocabulary")
    for name in SETS:
        rows = MultiomeRows.open(folder / f"{name}.h5mu")
        write_store(rows, vocabulary, folder / f"{name}.store")
    return folder / "full_atlas.store"


STEPS: dict[str, Callable[[Path], Path]] = {
    "import_matrices": import_files,
    "assemble": assemble,
    "build_vocabulary": build_vocabulary,
    "tokenize_cells": tokenize_cells,
}


def main() -> None:
    """Make the files, run each step in a process of its own, add its figures to the output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cells", type=int, default=1_500, help="of each sample")
    parser.add_argument("--steps", nargs="*", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.step:
        began = time.perf_counter()
        made = STEPS[args.step](args.folder)
        seconds = round(time.perf_counter() - began, 1)
        found = {"seconds": seconds, "peak_memory_mb": peak_memory_mb()}
        print(json.dumps(found | {"output_mb": size_mb(made)}))
        return
    for name in SETS:
        if not (args.folder / f"{name}_atac.h5ad").exists():
            make_files(args.folder, name, args.cells)
    results = json.loads(args.output.read_text()) if args.output.exists() else {}
    results |= {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}",
        "cells": {name: n * args.cells for name, n in SETS.items()},
        "peaks": N_PEAKS,
        "genes": N_GENES,
        "input_mb": {path.name: size_mb(path) for path in sorted(args.folder.glob("*.h5ad"))},
    }
    for step in args.steps:
        command = [sys.executable, "-m", "benchmarks.released", "--folder", str(args.folder)]
        command += ["--output", "-", "--cells", str(args.cells), "--step", step]
        ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results[step] = json.loads(ended.stdout)
        args.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
