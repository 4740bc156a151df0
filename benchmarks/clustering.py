"""WNN and clustering of many cells: seconds, each part's share of CPU time, and peak memory.

    python benchmarks/clustering.py benchmarks/clustering.json --cells 10000

The cells are drawn from 12 types: 20,000 genes, 100,000 peaks, about 2,500 UMIs and 5,000 counts
in peaks a cell, depths that vary as real ones do. Beside the whole stands what scanpy takes in the
same run for the RNA alone (its PCA, neighbours, Leiden): machines are compared by the ratio.
"""

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from epifoundation.cli.arguments import paper_section
from epifoundation.config import ClusterConfig
from epifoundation.data.clusters import atac_components, cluster_rna, rna_components
from epifoundation.data.expression import log_normalize
from epifoundation.data.louvain import louvain
from epifoundation.data.neighbors import weighted_neighbors

N_TYPES = 12


def counts(
    types: np.ndarray, n_features: int, depth: int, spread: float, rng: np.random.Generator
) -> sparse.csr_matrix:
    """Return cells × features: draws from the programme of each cell's type."""
    shared = rng.gamma(0.3, 1, n_features)
    own = shared * np.exp(spread * rng.standard_normal((N_TYPES, n_features)))
    edges = np.cumsum(own / own.sum(axis=1, keepdims=True), axis=1)
    totals = (depth * np.exp(0.4 * rng.standard_normal(len(types)))).astype(int)
    drawn = [
        np.minimum(np.searchsorted(edges[kind], rng.random(n)), n_features - 1)
        for kind, n in zip(types, totals, strict=True)
    ]
    indptr = np.concatenate([[0], np.cumsum(totals)])
    ones = np.ones(indptr[-1], np.int32)
    matrix = sparse.csr_matrix((ones, np.concatenate(drawn), indptr), (len(types), n_features))
    matrix.sum_duplicates()
    return matrix


def timed(seconds: dict[str, float], part: str, run: Callable[[], object]) -> object:
    start, cpu = time.perf_counter(), time.process_time()
    result = run()
    seconds[part] = time.perf_counter() - start
    seconds[f"{part} cpu"] = time.process_time() - cpu
    return result


def gib() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def scanpy_rna(rna: sparse.csr_matrix) -> None:
    cells = ad.AnnData(log_normalize(rna))
    sc.pp.highly_variable_genes(cells, n_top_genes=2000)
    sc.pp.pca(cells, n_comps=50)
    sc.pp.neighbors(cells)
    sc.tl.leiden(cells, flavor="igraph", n_iterations=2, directed=False)


def main(output: Path, n_cells: int) -> None:
    rng = np.random.default_rng(0)
    types = rng.choice(N_TYPES, n_cells, p=rng.dirichlet(np.full(N_TYPES, 2.0)))
    rna, atac = counts(types, 20_000, 2_500, 0.5, rng), counts(types, 100_000, 5_000, 0.5, rng)
    config = paper_section(ClusterConfig, "cluster")
    before, seconds = gib(), dict[str, float]()
    pcs = timed(seconds, "rna_components", lambda: rna_components(rna, config))
    lsi = timed(seconds, "atac_components", lambda: atac_components(atac, config, n_threads=2))
    found = timed(
        seconds,
        "weighted_neighbors",
        lambda: weighted_neighbors((pcs, lsi[:, 1:]), n_neighbors=20, neighbor_range=200),
    )
    graph = timed(seconds, "shared_graph", found.shared_graph)
    labels = timed(seconds, "louvain", lambda: louvain(graph, resolution=1, seed=0))
    walls = {part: value for part, value in seconds.items() if not part.endswith(" cpu")}
    total, peak = sum(walls.values()), gib()
    cpu = sum(seconds.values()) - total
    others: dict[str, float] = {}
    cells = ad.AnnData(rna, obs=pd.DataFrame(index=[f"c{i}" for i in range(n_cells)]))
    alone = timed(others, "rna_alone", lambda: cluster_rna(cells, config, sample="s", qc=None))
    timed(others, "scanpy_rna", lambda: scanpy_rna(rna))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    result = {
        "machine": machine,
        "cells": n_cells,
        "seconds": round(total, 1),
        "cpu_seconds": round(cpu, 1),
        "share": {part: round(seconds[f"{part} cpu"] / cpu, 3) for part in walls},
        "times_scanpy_on_rna": round(cpu / others["scanpy_rna cpu"], 2),
        "rna_alone_share_of_both": round(others["rna_alone cpu"] / cpu, 3),
        "memory_gib": {"inputs": before, "peak": peak},
        "clusters": int(labels.max()) + 1,
        "ari_with_types": round(adjusted_rand_score(types, labels), 3),
        "ari_of_rna_alone": round(adjusted_rand_score(types, alone["cluster"]), 3),
    }
    output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--cells", type=int, default=10_000)
    arguments = parser.parse_args()
    main(arguments.output, arguments.cells)
