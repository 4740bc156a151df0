"""How fast cells are read from the token store, and how long a training step waits for them.

    python -m benchmarks.loader benchmarks/loader.json

The store is synthetic, memory-mapped and in the page cache: 524,151 peaks and 36,601 genes, numbers
of peaks log-normal with mean 5,000, of expressed genes with mean 1,500. `raw` copies a cell's peaks
out of it, `packed` makes complete minibatches of 8 cells with up to 8,000 genes asked of each.
Rates are per second of one core. The wait is measured with steps that take what an H100 is expected
to take, 300 cells a second, during which two threads read ahead as in training.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.synthetic import N_BATCHES, N_CHROMOSOMES, synthetic_store
from epifoundation.data.store import TokenStore
from epifoundation.model.network import Sizes
from epifoundation.training.dataset import CellDataset
from epifoundation.training.loader import read_ahead

SIZES = Sizes(524_151, 36_601, N_CHROMOSOMES, N_BATCHES)
N_CELLS, CELLS_PER_MINIBATCH, ACCUMULATION_STEPS = 4_000, 8, 20
EXPECTED_CELLS_PER_SECOND = 300
N_WORKERS = 2
REPEATS = 3


def rate(work: Iterator[int]) -> float:
    """Return how many cells, counted by `work`, are done in a second of one core."""
    began = time.process_time()
    n_cells = sum(work)
    return n_cells / (time.process_time() - began)


def raw(store: TokenStore) -> Iterator[int]:
    """Copy the peaks of every cell, in random order."""
    for row in np.random.default_rng(0).permutation(store.n_cells):
        start, end = store.peak_indptr[row : row + 2]
        np.array(store.peak_tokens[start:end])
        yield 1


def packed(cells: CellDataset, epoch: int) -> Iterator[int]:
    """Read every minibatch of an epoch."""
    for rows in cells.shuffled(epoch, CELLS_PER_MINIBATCH):
        cells.read(rows, epoch)
        yield len(rows)


def waits(cells: CellDataset, seconds_per_cell: float) -> float:
    """Return the share of the time that steps of that length wait for their cells."""
    plan = cells.shuffled(0, CELLS_PER_MINIBATCH)
    windows = [
        plan[start : start + ACCUMULATION_STEPS]
        for start in range(0, len(plan), ACCUMULATION_STEPS)
    ]
    waited, began = 0.0, time.perf_counter()
    for i, minibatches in enumerate(_timed(read_ahead(cells, windows, 0, n_workers=N_WORKERS))):
        window, seconds = minibatches
        if i == 0:  # nothing was read ahead of the first
            began = time.perf_counter()
        else:
            waited += seconds
        time.sleep(seconds_per_cell * sum(m.cells.n_cells for m in window))
    return waited / (time.perf_counter() - began)


def _timed(windows: Iterator[list]) -> Iterator[tuple[list, float]]:
    while True:
        began = time.perf_counter()
        window = next(windows, None)
        if window is None:
            return
        yield window, time.perf_counter() - began


def main(output: Path) -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        store = synthetic_store(Path(folder), SIZES, N_CELLS, mean_peaks=5_000, mean_genes=1_500)
        cells = CellDataset(
            store=store,
            rows=np.arange(store.n_cells),
            max_peaks=12_000,
            seed=0,
            max_genes=8_000,
            batch_ids=np.arange(store.n_cells) % N_BATCHES,
        )
        sum(packed(cells, 0))  # into the page cache
        report = {
            "raw_cells_per_core_second": round(max(rate(raw(store)) for _ in range(REPEATS))),
            "packed_cells_per_core_second": round(
                max(rate(packed(cells, epoch)) for epoch in range(REPEATS))
            ),
            "share_of_the_step_that_waits": round(waits(cells, 1 / EXPECTED_CELLS_PER_SECOND), 4),
            "step_cells_per_second": EXPECTED_CELLS_PER_SECOND,
            "workers": N_WORKERS,
        }
    report["machine"] = {"cores": os.cpu_count(), "numpy": np.__version__}
    print(json.dumps(report, indent=1))
    output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
