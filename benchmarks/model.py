"""CPU time and memory of the packed network, beside two padded ways to compute the same.

    python -m benchmarks.model benchmarks/model.json [--threads 2] [--minutes 4]

Each measurement is a process of its own, the variants of a minibatch one after another, so that a
machine that slows down slows all of them. With --minutes it stops when they are over; the same
command goes on where it stopped. The encoder is the paper's (6 blocks, 512 wide, 8 heads, 1,024
hidden), tables hold 20,000 peaks and 5,000 genes, dropout is on, attention has none. Numbers of
peaks are log-normal, median 4,500 and 95 % below 12,000, cut at 12,000 positions; a minibatch has
4 cells, and the minibatches together the quantiles of that distribution. To `naive` all cells are
equally long, so that one of them is measured.
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
import torch

from benchmarks.padded import PEAK_POSITIONS, PaddedNetwork, pad
from benchmarks.synthetic import N_CHROMOSOMES, SPREAD, paper_network, synthetic_network
from epifoundation.model.losses import cross_entropy
from epifoundation.model.network import N_SPECIAL, EpiFoundation, Sizes
from epifoundation.model.packing import PackedCells, PackedGenes

VARIANTS, MODES = ("packed", "authors", "naive"), ("training", "inference")
SIZES = Sizes(n_peaks=20_000, n_genes=5_000, n_chromosomes=N_CHROMOSOMES, n_batches=4)
N_MINIBATCHES, CELLS = 3, 4
MEDIAN_PEAKS = 4_500
GENES_ASKED = 3_000  # 1,500 expressed and as many not
CLS = 2
LIMITS = {
    "training": {"authors": 0.75, "naive": 0.35},
    "inference": {"authors": 0.70, "naive": 0.30},
    "memory": {"authors": 0.55},
}


def lengths() -> np.ndarray:
    """Return the peaks of each cell, (minibatches, cells): quantiles, dealt out by a fixed seed."""
    normal = torch.distributions.Normal(0, 1)
    shares = (torch.arange(N_MINIBATCHES * CELLS) + 0.5) / (N_MINIBATCHES * CELLS)
    drawn = MEDIAN_PEAKS * np.exp(SPREAD * normal.icdf(shares).numpy())
    whole = np.minimum(drawn.round().astype(int), PEAK_POSITIONS - 1)
    return np.random.default_rng(0).permutation(whole).reshape(N_MINIBATCHES, CELLS)


def minibatch(n_peaks: np.ndarray, n_genes: int) -> tuple[PackedCells, PackedGenes]:
    """Return random cells with so many peaks each, and the genes asked of them."""
    rng = np.random.default_rng(int(n_peaks.sum()))
    cells = [
        np.concatenate([[CLS], rng.choice(SIZES.n_peaks, n, replace=False) + N_SPECIAL])
        for n in n_peaks
    ]
    genes = [rng.choice(SIZES.n_genes, n_genes, replace=False) + N_SPECIAL for _ in n_peaks]
    offsets = np.concatenate([[0], np.cumsum(n_peaks + 1)])
    return PackedCells(
        token_ids=torch.from_numpy(np.concatenate(cells)).int(),
        cu_seqlens=torch.from_numpy(offsets).int(),
        max_seqlen=int(n_peaks.max()) + 1,
        batch_ids=torch.arange(len(n_peaks)) % SIZES.n_batches,
    ), PackedGenes(
        gene_ids=torch.from_numpy(np.concatenate(genes)).int(),
        cell_index=torch.arange(len(n_peaks)).repeat_interleave(n_genes),
        targets=torch.arange(n_genes).repeat(len(n_peaks)) % 2,
    )


def build() -> EpiFoundation:
    """Return the network of the benchmark, the same weights each time."""
    return synthetic_network(paper_network(max_peaks=PEAK_POSITIONS - 1), SIZES)


def work(network: EpiFoundation, variant: str, mode: str) -> Callable[..., torch.Tensor]:
    """Return what is measured: from a minibatch to its embeddings, or to its loss."""

    def packed(cells: PackedCells, genes: PackedGenes) -> torch.Tensor:
        z = network(cells)
        if mode == "inference":
            return z
        loss = cross_entropy(network.gene_logits(z, cells, genes), genes.targets)
        return loss.total / loss.count

    def padded(cells: PackedCells, genes: PackedGenes) -> torch.Tensor:
        reference = PaddedNetwork(network, padded_attention=variant == "naive")
        laid_out = pad(cells, genes)
        if mode == "inference":
            return reference.embed(laid_out)
        loss = reference.loss(laid_out)
        return loss.total / loss.count

    return packed if variant == "packed" else padded


def measure(variant: str, mode: str, index: int) -> dict[str, float]:
    """Return CPU seconds per cell of a minibatch, and its memory above what was there before."""
    network = build().train(mode == "training")
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    run = work(network, variant, mode)

    def step(cells: PackedCells, genes: PackedGenes) -> None:
        if mode == "inference":
            with torch.inference_mode():
                run(cells, genes)
            return
        optimizer.zero_grad(set_to_none=True)
        run(cells, genes).backward()
        optimizer.step()

    for parameter in network.parameters():  # a step of no length, which makes Adam's state
        parameter.grad = torch.zeros_like(parameter) if mode == "training" else None
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if variant == "packed":  # loads the kernels; padded, it would take as long as what is measured
        step(*minibatch(np.array([50, 60]), 20))
        optimizer.zero_grad(set_to_none=True)
    n_peaks = lengths()[index][: 1 if variant == "naive" else CELLS]
    cells, genes = minibatch(n_peaks, GENES_ASKED)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before, cpu, wall = _memory_gib("VmRSS"), time.process_time(), time.perf_counter()
    step(cells, genes)
    return {
        "cpu_seconds": (time.process_time() - cpu) / len(n_peaks),
        "seconds": time.perf_counter() - wall,
        "memory_gib": _memory_gib("VmHWM") - before,
    }


def _memory_gib(which: str) -> float:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(which))
    return int(line.split()[1]) / 2**20


def planned() -> list[str]:
    """Return every measurement; one of `naive` is enough, since it takes all cells as equal."""
    return [
        f"{variant}.{mode}.{index}"
        for index in range(N_MINIBATCHES)
        for mode in MODES
        for variant in VARIANTS
        if variant != "naive" or index == 0
    ]


def expected_work(name: str) -> float:
    """Return about how long a measurement takes, relative to others."""
    variant, mode, _ = name.split(".")
    return {"packed": 1, "authors": 1.6, "naive": 1.1}[variant] * (1 if mode == "training" else 0.3)


def summary(records: dict[str, dict[str, float]]) -> dict[str, object]:
    """Return the ratio of packed to each reference over the minibatches both have computed."""
    told: dict[str, object] = {}
    for what, limits in LIMITS.items():
        mode = "training" if what == "memory" else what
        column = "memory_gib" if what == "memory" else "cpu_seconds"
        for other, limit in limits.items():
            pairs = [
                (packed[column], theirs[column])
                for i in range(N_MINIBATCHES)
                if (packed := records.get(f"packed.{mode}.{i}"))
                and (theirs := records.get(f"{other}.{mode}.{0 if other == 'naive' else i}"))
            ]
            if not pairs:
                continue
            ours, theirs = np.mean(pairs, axis=0)
            told[f"{what}, packed to {other}"] = {
                "ratio": round(ours / theirs, 3),
                "limit": limit,
                "of_each_minibatch": [round(a / b, 3) for a, b in pairs],
                "packed": round(ours, 2),
                other: round(theirs, 2),
            }
    return told


def main() -> None:
    """Measure what is not measured yet, and write everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--one", help="variant.mode.minibatch: measure it here and print it")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.one:
        variant, mode, index = args.one.split(".")
        print(json.dumps(measure(variant, mode, int(index))))
        return
    began, pace = time.monotonic(), 0.0
    told = json.loads(args.output.read_text()) if args.output.exists() else {}
    records = told.get("records", {})
    for name in planned():
        if name in records:
            continue
        if pace * expected_work(name) > 60 * args.minutes - (time.monotonic() - began):
            continue
        here = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.model", str(args.output), "--one", name]
        command += ["--threads", str(args.threads)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        records[name] = json.loads(done.stdout.splitlines()[-1])
        pace = max(pace, (time.monotonic() - here) / expected_work(name))
        print(name, records[name], flush=True)
        machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        machine |= {"threads": args.threads, "torch": torch.__version__}
        units = (
            "CPU seconds per cell; memory: GiB above parameters and optimiser state, a minibatch"
        )
        report = {"machine": machine, "units": units, **summary(records), "records": records}
        args.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
