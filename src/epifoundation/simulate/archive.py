"""An archive of sequencing runs, as a file server would serve it."""

import gzip
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from epifoundation.files import file_hash, whole, with_progress
from epifoundation.simulate.cells import Cells, sample_pool
from epifoundation.simulate.design import Difficulty, Size, design_of
from epifoundation.simulate.genome import Genome, Transcripts
from epifoundation.simulate.molecules import draw_cdna, draw_fragments
from epifoundation.simulate.planted import Planted, generator
from epifoundation.simulate.reads import (
    BARCODE_BP,
    Barcodes,
    Block,
    atac_blocks,
    fastq_bytes,
    gex_blocks,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Library:
    """What was sequenced of a sample: barcodes of cells, then of empty droplets."""

    name: str
    barcodes: Barcodes
    atac: sparse.csr_matrix
    rna: sparse.csr_matrix
    background: np.ndarray


@contextmanager
def gzipped(path: Path) -> Iterator[gzip.GzipFile]:
    """Open a gzip file that appears whole and has the same bytes for the same content."""
    with (
        whole(path) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0) as handle,
    ):
        yield handle


def draw_whitelist(n: int, rng: np.random.Generator) -> Barcodes:
    """Return `n` pairs of the 10x multiome lists, in their order."""
    folder = files("ngs_tools") / "chemistry" / "whitelists"
    texts = [
        gzip.decompress((folder / f"10x_multiome_{kind}_whitelist.txt.gz").read_bytes())
        for kind in ("gex", "atac")
    ]
    lists = [np.frombuffer(b"".join(t.split()), np.uint8).reshape(-1, BARCODE_BP) for t in texts]
    chosen = np.sort(rng.choice(len(lists[0]), n, replace=False))
    return Barcodes(lists[0][chosen], lists[1][chosen])


def barcode_text(letters: np.ndarray) -> list[str]:
    """Return barcodes (n, 16) as strings."""
    return [row.tobytes().decode() for row in letters]


def draw_library(
    name: str,
    cells: Cells,
    size: Size,
    whitelist: Barcodes,
    difficulty: Difficulty,
    rng: np.random.Generator,
) -> Library:
    """Give each cell of a sample a barcode, and add empty droplets that hold ambient molecules."""
    n_cells = len(cells.obs)
    chosen = rng.choice(len(whitelist.gex), n_cells + size.n_empty, replace=False)
    empty = difficulty.empty_depth * rng.lognormal(0, 0.5, (2, size.n_empty))
    in_regions = difficulty.in_regions
    ambient_atac = sample_pool(cells.pool_atac, in_regions * empty[0], rng)
    ambient_rna = sample_pool(cells.pool_rna, empty[1], rng)
    depth = np.concatenate([cells.obs["atac_depth"].to_numpy(), empty[0]])
    return Library(
        name,
        Barcodes(whitelist.gex[chosen], whitelist.atac[chosen]),
        sparse.vstack([cells.atac, ambient_atac], "csr"),
        sparse.vstack([cells.rna, ambient_rna], "csr"),
        rng.poisson((1 - in_regions) * depth),
    )


def write_archive(
    folder: Path,
    libraries: list[Library],
    planted: Planted,
    genome: Genome,
    transcripts: Transcripts,
    difficulty: Difficulty,
    *,
    seed: int,
    threads: int,
) -> pd.DataFrame:
    """Write FASTQ files and return the index: one row a file, `url` relative to the index."""

    def write(task: tuple[Library, str]) -> list[dict[str, object]]:
        library, kind = task
        rng = generator(seed, f"{kind} reads {library.name}")
        design = design_of(library.name)
        if kind == "gex":
            cdna = draw_cdna(library.rna, transcripts, rng)
            blocks = gex_blocks(cdna, library.barcodes, transcripts, rng)
        else:
            fragments = draw_fragments(
                library.atac,
                library.background,
                planted.regions,
                planted.annotation.blacklist,
                genome,
                difficulty.background,
                rng,
            )
            blocks = atac_blocks(fragments, library.barcodes, design.layout, genome, rng)
        return _write_reads(folder, accession(library.name, kind), kind, blocks, design.n_lanes)

    tasks = [(library, kind) for library in libraries for kind in ("gex", "atac")]
    with ThreadPoolExecutor(threads) as pool:
        done = with_progress(
            pool.map(write, tasks), "libraries written", total=len(tasks), logger=logger
        )
        return pd.DataFrame([row for rows in done for row in rows])


def accession(sample: str, kind: str) -> str:
    """Return the accession of one library of a sample, e.g. SIMG000001."""
    return f"SIM{kind[0].upper()}{design_of(sample).number:06d}"


def _write_reads(
    folder: Path, name: str, kind: str, blocks: Iterator[Block], n_lanes: int
) -> list[dict[str, object]]:
    """Deal the reads of each block to the lanes; return the rows of the index."""
    reads = ("R1", "R2") if kind == "gex" else ("R1", "R2", "R3")
    paths = {
        (lane, read): folder / name / f"{name}_S1_L{lane:03d}_{read}_001.fastq.gz"
        for lane in range(1, n_lanes + 1)
        for read in reads
    }
    lengths = {}
    written = dict.fromkeys(range(1, n_lanes + 1), 0)
    with ExitStack() as stack:
        handles = {key: stack.enter_context(gzipped(path)) for key, path in paths.items()}
        for block in blocks:
            for lane in written:
                for read, (letters, quality) in block.items():
                    share = slice(lane - 1, None, n_lanes)
                    records = fastq_bytes(
                        written[lane] + 1, lane, read, letters[share], quality[share]
                    )
                    handles[lane, read].write(records)
                    lengths[read] = letters.shape[1]
                written[lane] += len(letters[share])
    logger.info("%s: %s read pairs", name, f"{sum(written.values()):,}")
    return [
        {
            "accession": name,
            "file": path.name,
            "url": f"{name}/{path.name}",
            "bytes": path.stat().st_size,
            "md5": file_hash(path, "md5"),
            "library": kind,
            "lane": f"L{lane:03d}",
            "read": read,
            "read_length": lengths[read],
            "n_reads": written[lane],
        }
        for (lane, read), path in paths.items()
    ]
