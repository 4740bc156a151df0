"""The open engine: STARsolo and bwa, one sample from reads to Cell Ranger ARC's layout."""

import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from epifoundation.align.atac import make_fragments
from epifoundation.align.barcodes import read_whitelists
from epifoundation.align.calling import call_cells
from epifoundation.align.fastq import lanes_of
from epifoundation.align.gex import count_genes, read_tss
from epifoundation.align.layout import OUTS, write_outs
from epifoundation.align.tools import BGZIP, BWA, STAR, TABIX, find_program
from epifoundation.config import AlignConfig

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def align_open(
    manifest: pd.DataFrame,
    fastq: Path,
    outs: Path,
    *,
    sample: str,
    star_index: Path,
    bwa_index: Path,
    genome: str,
    mitochondrial: str,
    config: AlignConfig,
    threads: int,
) -> None:
    """Write the files of layout.OUTS for one sample into the folder `outs`.

    `manifest` follows contracts.MANIFEST and names the files in `fastq`; `bwa_index` is the prefix
    of the index. Everything is made in a folder beside `outs` and moved at the end, so outputs are
    whole or absent. The result does not depend on `threads`.
    """
    for program in (STAR, BWA, BGZIP, TABIX):
        find_program(program)
    gex_lanes = lanes_of(manifest, "gex", fastq)
    atac_lanes = lanes_of(manifest, "atac", fastq)
    whitelists = read_whitelists(config.whitelist_gex, config.whitelist_atac)
    outs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=outs.parent, prefix=".scratch-") as folder:
        scratch = Path(folder)
        genes = _timed(
            "GEX",
            lambda: count_genes(
                gex_lanes, whitelists[0], star_index, threads=threads, scratch=scratch
            ),
        )
        atac = _timed(
            "ATAC",
            lambda: make_fragments(
                atac_lanes,
                whitelists,
                bwa_index,
                scratch / "atac_fragments.tsv.gz",
                sample=sample,
                min_mapping_quality=config.min_mapping_quality,
                bwa_options=config.bwa_options,
                mitochondrial=mitochondrial,
                tss=read_tss(star_index),
                threads=threads,
                scratch=scratch,
            ),
        )
        umis = np.asarray(genes.matrix.sum(axis=1)).ravel().astype(np.int64)
        is_cell = call_cells(atac.fragments, umis, atac.excluded > 0)
        write_outs(
            scratch,
            sample=sample,
            genome=genome,
            whitelists=whitelists,
            genes=genes,
            atac=atac,
            is_cell=is_cell,
        )
        for name in OUTS:
            (scratch / name).replace(outs / name)


def _timed(what: str, work: Callable[[], Result]) -> Result:
    start = time.monotonic()
    result = work()
    logger.info("%s done in %.1f s", what, time.monotonic() - start)
    return result
