"""Pooled peak calling of 50 million fragments from 10 files: memory beside MACS2's own, speed.

    python benchmarks/peak_calling.py make /tmp/peaks               (0.6 GB)
    python benchmarks/peak_calling.py pool /tmp/peaks               (the reading, by threads)
    python benchmarks/peak_calling.py call /tmp/peaks               (all of call_peaks)
    python benchmarks/peak_calling.py call /tmp/peaks 1             (the same of the first file)
    python benchmarks/peak_calling.py call /tmp/peaks 10 200        (stopped after 200 seconds)
    python benchmarks/peak_calling.py write /tmp/peaks benchmarks/peak_calling.json

Fragments lie over the lengths of the human chromosomes, 40 % of them in 100,000 peaks. `call` runs
`call_peaks` in a process of its own; ten times a second the memory of that process and its MACS2
together is taken, and that of MACS2 alone, which reads the deduplicated tags: the largest before
MACS2 runs, while it does, and after. In a call that is stopped MACS2 has not taken all it would,
so that `more_than_macs2_mb` is at most what it says. `load` is how many processes wanted a core at
the start: above the number of cores seconds are too long.
"""

import gzip
import json
import os
import platform
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil

N_FILES, N_FRAGMENTS, N_PEAKS, N_BARCODES = 10, 5_000_000, 100_000, 1_000
AT_WORK = 60e6  # bytes that MACS2 takes at least once it reads tags
MILLIONS = (
    *(248.9, 242.2, 198.3, 190.2, 181.5, 170.8, 159.3, 145.1, 138.4, 133.8, 135.1, 133.3),
    *(114.4, 107.0, 102.0, 90.3, 83.3, 80.4, 58.6, 64.4, 46.7, 50.8, 156.0, 57.2),
)
CHROMOSOMES = {
    f"chr{name}": int(size * 1e6)
    for name, size in zip([*range(1, 23), "X", "Y"], MILLIONS, strict=True)
}


def make(folder: Path) -> None:
    """Write sorted, gzipped fragment files."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = np.array(list(CHROMOSOMES.values()))
    begin = np.cumsum(sizes) - sizes
    centres = np.sort(np.random.default_rng(0).integers(0, sizes.sum(), N_PEAKS))
    for number in range(N_FILES):
        generator = np.random.default_rng([1, number])
        n_in_peaks = N_FRAGMENTS * 2 // 5
        in_peaks = generator.choice(centres, n_in_peaks) + generator.normal(0, 150, n_in_peaks)
        around = generator.integers(0, sizes.sum(), N_FRAGMENTS - n_in_peaks)
        place = np.sort(np.concatenate([in_peaks.astype(np.int64), around]))
        place = np.clip(place, 0, sizes.sum() - 1)
        chromosome = np.searchsorted(begin, place, side="right") - 1
        start = place - begin[chromosome]
        table = pl.DataFrame(
            {
                "chrom": pl.Series(list(CHROMOSOMES)).gather(chromosome),
                "start": start,
                "end": start + generator.integers(40, 500, len(start)),
                "barcode": pl.Series([f"CELL{i:06}ACGTAC-1" for i in range(N_BARCODES)]).gather(
                    generator.integers(0, N_BARCODES, len(start))
                ),
                "count": 1,
            }
        )
        with gzip.open(folder / f"{number}.tsv.gz", "wb", compresslevel=1) as handle:
            table.write_csv(handle, include_header=False, separator="\t")
    note(folder, make={"n_fragments": N_FILES * N_FRAGMENTS, "megabytes": round(total_mb(folder))})


def total_mb(folder: Path) -> float:
    """Return the size of the files."""
    return sum(path.stat().st_size for path in folder.glob("*.tsv.gz")) / 1e6


def files_in(folder: Path) -> list[Path]:
    """Return the fragment files."""
    return sorted(folder.glob("*.tsv.gz"))


def pool(folder: Path) -> None:
    """Time the reading with one thread and with two, and the writing of tags."""
    from epifoundation.data.pool import pool_fragments

    measured = {}
    for threads in (1, 2):
        begun, cpu = time.monotonic(), time.process_time()
        pooled = pool_fragments(
            files_in(folder), cap=1, standard_chromosomes=list(CHROMOSOMES), threads=threads
        )
        millions = pooled.n_fragments / 1e6
        measured[f"threads_{threads}"] = {
            "million_fragments_per_second": round(millions / (time.monotonic() - begun), 2),
            "million_fragments_per_cpu_second": round(millions / (time.process_time() - cpu), 2),
        }
        if threads == 1:
            del pooled
    begun, cpu = time.monotonic(), time.process_time()
    n_tags = pooled.write_tags(folder / "pool.bed", cap=1)
    (folder / "pool.bed").unlink()
    measured["writing"] = {
        "n_tags": n_tags,
        "million_tags_per_second": round(n_tags / (time.monotonic() - begun) / 1e6, 2),
        "million_tags_per_cpu_second": round(n_tags / (time.process_time() - cpu) / 1e6, 2),
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    note(folder, pool={**measured, "peak_memory_mb": round(peak)})


def call(folder: Path, n_files: int = N_FILES, seconds: float = float("inf")) -> None:
    """Run `child` and sample the memory of it and of what it runs."""
    load, begun = os.getloadavg()[0], time.monotonic()
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, __file__, "child", str(folder), str(n_files)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    largest = dict.fromkeys(("before", "while", "after", "macs2", "disk"), 0)

    def sample() -> None:
        watched = psutil.Process(process.pid)
        phase = "before"
        while process.poll() is None:
            try:
                called = sum(one.memory_info().rss for one in watched.children(recursive=True))
                if called > AT_WORK:  # less: asking for the version
                    phase = "while"
                elif phase == "while":
                    phase = "after"
                both = watched.memory_info().rss + called
                disk = sum(path.stat().st_size for path in scratch.glob("**/*"))
                for name, now in ((phase, both), ("macs2", called), ("disk", disk)):
                    largest[name] = max(largest[name], now)
                if time.monotonic() - begun > seconds:
                    for one in [*watched.children(recursive=True), watched]:
                        one.kill()
            except (psutil.NoSuchProcess, FileNotFoundError):
                pass  # gone since it was listed
            time.sleep(0.1)

    watcher = threading.Thread(target=sample)
    watcher.start()
    text, _ = process.communicate()
    watcher.join()
    took = time.monotonic() - begun
    if process.returncode and took < seconds:
        sys.exit(process.returncode)
    told = json.loads(text) if text else {"stopped": True}
    megabytes = {f"{name}_mb": round(size / 1e6) for name, size in largest.items()}
    peak = max(megabytes[f"{phase}_mb"] for phase in ("before", "while", "after"))
    told |= {**megabytes, "peak_mb": peak, "more_than_macs2_mb": peak - megabytes["macs2_mb"]}
    told |= {"seconds": round(took), "load": round(load, 1)}
    note(folder, **{f"call_{n_files}_files": told})


def child(folder: Path, n_files: int) -> None:
    """Call peaks, as the workflow does, and print what it took."""
    import pandas as pd

    from epifoundation.cli.arguments import paper_section
    from epifoundation.config import PeakConfig
    from epifoundation.data.peaks import call_peaks

    peaks, summary = call_peaks(
        files_in(folder)[:n_files],
        paper_section(PeakConfig, "peaks"),
        standard_chromosomes=list(CHROMOSOMES),
        blacklist=pd.DataFrame({"chrom": [], "start": [], "end": []}),
        threads=2,
    )
    occupancy = summary[["occupancy_in_peaks", "occupancy_outside"]].iloc[0].round(4).to_dict()
    n_fragments = int(summary["n_fragments"].iloc[0])
    print(json.dumps({"n_fragments": n_fragments, "n_peaks": len(peaks), **occupancy}))


def note(folder: Path, **measured: object) -> None:
    """Keep what was measured beside the files."""
    path = folder / "measured.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, **measured}, indent=1) + "\n")


def write(folder: Path, output: Path) -> None:
    """Write all that was measured, with the machine."""
    machine = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    measured = json.loads((folder / "measured.json").read_text())
    output.write_text(json.dumps({**machine, **measured}, indent=1) + "\n")


def main(stage: str, folder: Path, *more: str) -> None:
    """Run one stage."""
    if stage == "write":
        write(folder, Path(more[0]))
    elif stage in ("call", "child"):
        {"call": call, "child": child}[stage](folder, *map(int, more))
    else:
        {"make": make, "pool": pool}[stage](folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
