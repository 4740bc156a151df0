"""What the six integration metrics cost on many cells, on two cores.

    python benchmarks/integration.py benchmarks/integration.json separate [n_cells]
    python benchmarks/integration.py benchmarks/integration.json overlapping [n_cells]

Cells of 30 types in 10 batches, in 50 dimensions. `separate`: dimensions whose spread falls as that
of principal components does, types apart in the first. `overlapping`: all dimensions alike, a cell
often nearer to another type's centre; Leiden then takes ten times as many passes to come to rest,
which is the worst case. Clustering goes on in two processes while the other metrics are computed,
as in the workflow. Both kinds are kept in the one file.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from epifoundation.evaluation import embedded, integration

N_TYPES, N_BATCHES, N_DIMENSIONS = 30, 10, 50
N_CORES = 2


def cells_of(kind: str, n_cells: int) -> embedded.Labelled:
    """Return embedded cells of planted types and batches."""
    rng = np.random.default_rng(0)
    types, batches = rng.integers(0, N_TYPES, n_cells), rng.integers(0, N_BATCHES, n_cells)
    apart, spread = {
        "separate": (1.5, np.arange(1, N_DIMENSIONS + 1) ** -0.5),
        "overlapping": (0.6, np.ones(N_DIMENSIONS)),
    }[kind]
    embedding = spread * (
        apart * rng.normal(size=(N_TYPES, N_DIMENSIONS))[types]
        + 0.3 * rng.normal(size=(N_BATCHES, N_DIMENSIONS))[batches]
        + rng.normal(size=(n_cells, N_DIMENSIONS))
    )
    names = tuple(f"type{code}" for code in range(N_TYPES))
    return embedded.Labelled(embedding.astype(np.float32), types, batches, names)


def main(output: Path, kind: str, n_cells: int) -> None:
    """Time each part and write seconds, CPU seconds and peak memory."""
    cells = cells_of(kind, n_cells)
    seconds, values = {}, {}
    start = began = time.perf_counter()
    graph = embedded.neighbor_graph(cells.embedding)
    seconds["neighbours"] = time.perf_counter() - began
    clustered = embedded.begin_leiden(graph.connectivities, integration.RESOLUTIONS, N_CORES)
    began = time.perf_counter()
    silhouettes = integration.type_silhouettes(cells)
    seconds["silhouettes"] = time.perf_counter() - began
    for name, score in {
        "iso": lambda: integration.isolated_label_score(cells, silhouettes),
        "casw": lambda: integration.type_silhouette(cells, silhouettes),
        "clisi": lambda: integration.type_lisi(
            cells, embedded.lisi_neighbourhoods(cells, graph.connectivities)
        ),
        "basw": lambda: integration.batch_silhouette(cells),
        "gc": lambda: integration.graph_connectivity(cells, graph.connectivities),
        "nmi": lambda: integration.best_clustering_nmi(cells, clustered()),  # what is left of it
    }.items():
        began = time.perf_counter()
        values[name] = score().value
        seconds[name] = time.perf_counter() - began
    own, others = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    told = {
        "n_cells": n_cells,
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(sum(u.ru_utime + u.ru_stime for u in (own, others)), 1),
        # of this process, and of the largest of the two that cluster, twice
        "peak_memory_gib": round((own.ru_maxrss + N_CORES * others.ru_maxrss) / 2**20, 2),
        "seconds_by_part": {name: round(part, 1) for name, part in seconds.items()},
        "value": {name: round(value, 4) for name, value in values.items()},
    }
    kept = json.loads(output.read_text()) if output.exists() else {}
    kept[kind] = json.loads(json.dumps(told).replace("NaN", "null"))
    output.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 50_000)
