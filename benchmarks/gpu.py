"""Speed of pretraining on a GPU: the paper's network at the released size, by the real loop.

    python -m benchmarks.gpu [--output benchmarks/gpu.json]

On one H100 or H200 it should take a few minutes (not yet run on one) and tells cells/s, tokens/s,
the share of the card's arithmetic that is used (MFU, by the sum of squared lengths), peak memory,
the hours the paper's run would take, the kernels most time goes to, and how far the attention
kernels found agree. A record of the full size is never overwritten. `--device cpu --small` goes the
same way in seconds with a tiny network, to see that it works: its rates mean nothing, no hours are
projected from them, and it writes no file but the one that is named.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.synthetic import (
    N_BATCHES,
    N_CHROMOSOMES,
    paper_network,
    synthetic_network,
    synthetic_store,
)
from epifoundation.config import ExecutionConfig, ModelConfig, TrainConfig
from epifoundation.model.attention import Segments, kernels
from epifoundation.model.network import Sizes
from epifoundation.training.dataset import CellDataset
from epifoundation.training.distributed import World
from epifoundation.training.loop import train, update
from epifoundation.training.metrics import STEPS_FILE, peak_flops
from epifoundation.training.objectives import align_genes
from epifoundation.training.run import Run

PAPER_CELLS, PAPER_EPOCHS = 120_000, 140
WARM_UP_UPDATES = 3  # kernels are loaded and memory is laid out
TOP_KERNELS = 12


@dataclass(frozen=True)
class Size:
    """How much is computed."""

    network: ModelConfig
    sizes: Sizes
    n_cells: int
    mean_peaks: int
    mean_genes: int
    cells_per_minibatch: int
    accumulation_steps: int


def released() -> Size:
    """Return the size of the released atlas and of the paper's minibatches."""
    return Size(
        network=paper_network(),
        sizes=Sizes(524_151, 36_601, N_CHROMOSOMES, N_BATCHES),
        n_cells=2_880,  # 18 updates of 160 cells
        mean_peaks=5_000,
        mean_genes=1_500,
        cells_per_minibatch=8,
        accumulation_steps=20,
    )


def small() -> Size:
    """Return a size a CPU computes in a second."""
    return Size(
        network=paper_network(n_layers=2, d_model=64, d_feedforward=128, max_peaks=300),
        sizes=Sizes(2_000, 300, N_CHROMOSOMES, N_BATCHES),
        n_cells=64,
        mean_peaks=150,
        mean_genes=60,
        cells_per_minibatch=4,
        accumulation_steps=2,
    )


def prepare(size: Size, folder: Path, device: str, *, compiled: bool) -> Run:
    """Return a run of one epoch over synthetic cells."""
    store = synthetic_store(
        folder, size.sizes, size.n_cells, mean_peaks=size.mean_peaks, mean_genes=size.mean_genes
    )

    def cells(rows: np.ndarray) -> CellDataset:
        return CellDataset(
            store=store,
            rows=rows,
            max_peaks=size.network.max_peaks,
            seed=0,
            max_genes=size.network.max_genes,
            batch_ids=np.arange(size.n_cells) % N_BATCHES,
        )

    config = TrainConfig(
        epochs=1,
        learning_rate=1e-4,
        min_learning_rate=1e-6,
        warmup_fraction=0.02,
        cells_per_minibatch=size.cells_per_minibatch,
        accumulation_steps=size.accumulation_steps,
        clip_norm=100,
        precision="bf16",
        patience=1,
        schedule="cosine",
        tokens_per_minibatch=None,
        max_peaks=None,
    )
    execution = ExecutionConfig(
        device="cuda" if device == "cuda" else "cpu",
        n_devices=1,
        shard_tables=False,
        n_workers=2,
        gradient_checkpointing=False,
        compile=compiled,
        checkpoint_minutes=1e6,
        checkpoint_updates=None,
        keep_checkpoints=1,
        changed_settings="anew",
        log_every_updates=1,
        tensorboard=False,
    )
    network = synthetic_network(size.network, size.sizes).to(device)
    held_out = np.arange(size.cells_per_minibatch)
    rest = np.arange(len(held_out), size.n_cells)
    return Run(
        network, cells(rest), cells(held_out), align_genes, config, execution, 0, folder / "run"
    )


def speed(run: Run) -> dict[str, float]:
    """Train one epoch and return the rates of its updates, the first few left out."""
    (run.folder or Path()).mkdir()
    train(run)
    lines = ((run.folder or Path()) / STEPS_FILE).read_text().splitlines()
    steps = [step for line in lines if "cells_per_second" in (step := json.loads(line))]
    steps = steps[WARM_UP_UPDATES:]
    seconds = sum(step["seconds"] for step in steps)

    def rate(name: str) -> float:
        return sum(step[name] * step["seconds"] for step in steps) / seconds

    told = {name: rate(name) for name in ("cells_per_second", "tokens_per_second", "loader_wait")}
    if "mfu" in steps[0]:
        told["mfu"] = rate("mfu")
    told["updates_measured"] = len(steps)
    told["peak_memory_gib"] = max(step["peak_memory_gib"] for step in steps)
    return told


def hours_of_the_papers_run(cells_per_second: float) -> float:
    """Return how long 120,000 cells take 140 times at that rate."""
    return PAPER_CELLS * PAPER_EPOCHS / cells_per_second / 3600


def top_kernels(run: Run, device: torch.device) -> list[dict[str, object]]:
    """Return what one update spends its time on, the longest first."""
    size = run.config
    plan = run.training.shuffled(0, size.cells_per_minibatch)[: size.accumulation_steps]
    minibatches = [run.training.read(rows) for rows in plan]
    optimizer = torch.optim.Adam(run.network.parameters(), fused=True)
    run.network.train()
    world, ones = World(0, 1, device), [1.0] * len(minibatches)
    update(run, world, minibatches, ones, optimizer, epoch=0)
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
    with profile(activities=activities) as profiled:
        update(run, world, minibatches, ones, optimizer, epoch=0)
    time_of = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    events = sorted(profiled.key_averages(), key=lambda event: -getattr(event, time_of))
    total = sum(getattr(event, time_of) for event in events)
    return [
        {
            "kernel": event.key[:90],
            "share": round(getattr(event, time_of) / total, 4),
            "calls": event.count,
        }
        for event in events[:TOP_KERNELS]
    ]


def agreement(size: Size, device: torch.device) -> dict[str, dict[str, float]]:
    """Return the largest difference of each attention kernel from the first, relative to the
    largest value: of the result, and of the gradient of the queries."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    lengths = [1, size.mean_peaks // 4, size.mean_peaks, 3]
    offsets = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32, device=device)
    heads, width = size.network.n_heads, size.network.d_model // size.network.n_heads
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(3, sum(lengths), heads, width, generator=generator)
    segments = Segments(offsets, max(lengths))
    results = {}
    for name, kernel in kernels(device.type, dtype).items():
        query, key, value = drawn.to(device, dtype).requires_grad_()
        query.retain_grad()
        out = kernel(query, key, value, segments, segments, 0.0)
        out.square().sum().backward()
        results[name] = (out.detach().float(), query.grad.float())
    first = next(iter(results.values()))
    return {
        name: {
            what: float((found - expected).abs().max() / expected.abs().max())
            for what, found, expected in zip(("result", "gradient"), result, first, strict=True)
        }
        for name, result in results.items()
    }


def machine(device: torch.device) -> dict[str, object]:
    """Return where this ran."""
    told: dict[str, object] = {"device": str(device), "torch": torch.__version__}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        told |= {"gpu": properties.name, "memory_gib": round(properties.total_memory / 2**30, 1)}
        told |= {"cuda": torch.version.cuda, "peak_bf16_tflops": (peak_flops(device) or 0) / 1e12}
    return told | {"cpu_cores": os.cpu_count()}


def refusal(device: str, output: Path | None, *, is_small: bool) -> str | None:
    """Return why this cannot be measured or written; null: it can."""
    if device == "cpu" and not is_small:
        return (
            "the full size would take a CPU hours and says nothing of a GPU. Add `--small` to see"
            " that the benchmark works; benchmarks/model.py measures the network on a CPU."
        )
    if device == "cuda" and not torch.cuda.is_available():
        return (
            f"PyTorch {torch.__version__} finds no GPU here. Run this on a machine with one,"
            " or add `--device cpu --small` to see that the benchmark works."
        )
    if output is None or not output.exists():
        return None
    before = json.loads(output.read_text())
    if before.get("small"):
        return None
    gpu = before.get("machine", {}).get("gpu", "another machine")
    return f"{output} holds the record of {gpu}. Name another file with --output, or move that one."


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; 0 when done, 2 with one line when it cannot be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="default: gpu.json here; none with --small")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="a tiny network, to see that it works")
    parser.add_argument("--compile", action="store_true", help="torch.compile the blocks")
    args = parser.parse_args(arguments)
    output: Path | None = args.output
    if output is None and not args.small:
        output = Path(__file__).with_name("gpu.json")
    refused = refusal(args.device, output, is_small=args.small)
    if refused:
        sys.stderr.write(f"error: {refused}\n")
        return 2
    size, device = (small() if args.small else released()), torch.device(args.device)
    began = time.monotonic()
    report = {"machine": machine(device), "small": args.small, "compiled": args.compile}
    report["attention_kernels"] = agreement(size, device)
    with tempfile.TemporaryDirectory() as folder:
        run = prepare(size, Path(folder), args.device, compiled=args.compile)
        n_tables = sum(
            table.table.weight.numel()
            for table in (run.network.peak_embedding, run.network.gene_embedding)
        )
        n_all = sum(parameter.numel() for parameter in run.network.parameters())
        report["parameters"] = {"all": n_all, "tables": n_tables}
        rates = speed(run)
        if not args.small:
            hours = hours_of_the_papers_run(rates["cells_per_second"])
            rates["hours_of_the_papers_run"] = hours
        report["pretraining"] = rates
        report["top_kernels"] = top_kernels(run, device)
    report["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(report, indent=1))
    if output is not None:
        output.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
