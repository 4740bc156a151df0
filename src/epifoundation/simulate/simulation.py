"""The whole simulation, written as the files a run starts from and the truth behind them."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd

from epifoundation.config import SimulateConfig
from epifoundation.files import whole
from epifoundation.simulate import truth
from epifoundation.simulate.annotation import gtf_lines
from epifoundation.simulate.archive import (
    barcode_text,
    draw_library,
    draw_whitelist,
    gzipped,
    write_archive,
)
from epifoundation.simulate.controls import control_table, paired_table
from epifoundation.simulate.design import SIZES, Difficulty
from epifoundation.simulate.genome import draw_genome, fasta_bytes, transcribe
from epifoundation.simulate.planted import generator, plant_multiome
from epifoundation.simulate.profiles import reference_profiles

logger = logging.getLogger(__name__)


def write_simulation(
    folder: Path, simulate: SimulateConfig, *, cells: float = 1.0, threads: int = 2
) -> None:
    """Write genome, genes, profiles, whitelists, archive and truth below `folder`.

    `cells` multiplies the number of cells of each sample. The same seed and size give the same
    bytes, whatever the number of threads.
    """
    seed, difficulty = simulate.seed, Difficulty()
    size = SIZES[simulate.size]
    size = replace(size, cells=size.cells * cells)
    planted = plant_multiome(seed, size, difficulty)
    logger.info(
        "planted %s cells, %s genes, %s regions",
        f"{sum(len(c.obs) for c in planted.samples.values()):,}",
        f"{len(planted.annotation.genes):,}",
        f"{len(planted.regions):,}",
    )
    genome = draw_genome(planted.annotation, generator(seed, "sequence"))
    whitelist = draw_whitelist(size.n_whitelist, generator(seed, "whitelist"))
    _write_bytes(folder / "genome.fa.gz", fasta_bytes(genome))
    _write_text(folder / "genes.gtf.gz", gtf_lines(planted.annotation))
    _write_text(folder / "whitelist_gex.txt.gz", barcode_text(whitelist.gex))
    _write_text(folder / "whitelist_atac.txt.gz", barcode_text(whitelist.atac))
    blacklist = planted.annotation.blacklist
    _write_text(
        folder / "blacklist.bed.gz",
        blacklist.astype(str).agg("\t".join, axis=1).tolist(),
    )
    _write_table(reference_profiles(planted, generator(seed, "profiles")), folder / "profiles.tsv")
    libraries = [
        draw_library(
            name, cells_of, size, whitelist, difficulty, generator(seed, f"library {name}")
        )
        for name, cells_of in planted.samples.items()
    ]
    index = write_archive(
        folder / "archive",
        libraries,
        planted,
        genome,
        transcribe(genome, planted.annotation),
        difficulty,
        seed=seed,
        threads=threads,
    )
    _write_table(index, folder / "archive" / "index.tsv")
    for name, table in {
        "cells": truth.cell_table(planted, libraries),
        "regions": truth.region_table(planted, size, difficulty),
        "links": truth.link_table(planted),
        "samples": truth.sample_table(planted),
        "synonyms": truth.synonym_table(),
    }.items():
        _write_table(table, folder / "truth" / f"{name}.tsv")
    controls = pd.concat([control_table(planted, seed), paired_table(planted, seed)])
    for row in controls.to_dict("records"):
        logger.info("control %(dataset)s %(control)s %(metric)s: %(value).3f", row)
    with whole(folder / "truth" / "controls.json") as partial:
        partial.write_text(json.dumps(controls.to_dict("records"), indent=1) + "\n")


def _write_bytes(path: Path, content: bytes) -> None:
    with gzipped(path) as handle:
        handle.write(content)


def _write_text(path: Path, lines: list[str]) -> None:
    _write_bytes(path, ("\n".join(lines) + "\n").encode())


def _write_table(table: pd.DataFrame, path: Path) -> None:
    with whole(path) as partial:
        table.to_csv(partial, sep="\t", index=False)
