"""What the six integration metrics cost on many cells, each metric's share of one run.

    python benchmarks/integration.py benchmarks/integration.json [n_cells]

Cells of 30 types in 10 batches, drawn around centres that overlap, in 50 dimensions.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from epifoundation.evaluation import embedded, integration

N_TYPES, N_BATCHES, N_DIMENSIONS = 30, 10, 50


def cells_of(n_cells: int) -> embedded.Labelled:
    """Return embedded cells, some of which lie nearer to another type's centre."""
    rng = np.random.default_rng(0)
    types, batches = rng.integers(0, N_TYPES, n_cells), rng.integers(0, N_BATCHES, n_cells)
    embedding = (
        0.6 * rng.normal(size=(N_TYPES, N_DIMENSIONS))[types]
        + 0.3 * rng.normal(size=(N_BATCHES, N_DIMENSIONS))[batches]
        + rng.normal(size=(n_cells, N_DIMENSIONS))
    )
    names = tuple(f"type{code}" for code in range(N_TYPES))
    return embedded.Labelled(embedding.astype(np.float32), types, batches, names)


def main(output: Path, n_cells: int) -> None:
    """Time each part and write shares, total seconds and peak memory."""
    cells = cells_of(n_cells)
    seconds, values = {}, {}
    began = time.perf_counter()
    graph = embedded.neighbor_graph(cells.embedding)
    seconds["neighbours"] = time.perf_counter() - began
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
        "nmi": lambda: integration.best_clustering_nmi(
            cells, embedded.leiden(graph.connectivities, integration.RESOLUTIONS)
        ),
    }.items():
        began = time.perf_counter()
        values[name] = score().value
        seconds[name] = time.perf_counter() - began
    total = sum(seconds.values())
    told = {
        "n_cells": n_cells,
        "seconds": round(total, 1),
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "share": {name: round(part / total, 3) for name, part in seconds.items()},
        "value": {name: round(value, 4) for name, value in values.items()},
    }
    output.write_text(json.dumps(told, indent=1).replace("NaN", "null") + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 50_000)
