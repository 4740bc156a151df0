"""The simulated multiome before any read is made: planted truth and matrices."""

from dataclasses import dataclass, replace
from zlib import crc32

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
from scipy import sparse

from epifoundation.multiome import multiome
from epifoundation.simulate.annotation import Annotation, place_genes
from epifoundation.simulate.cells import Cells, draw_cells
from epifoundation.simulate.design import Difficulty, Size, design_of
from epifoundation.simulate.programme import Programme, plant
from epifoundation.simulate.regions import place_regions


@dataclass(frozen=True)
class Planted:
    """Everything that is true of a simulation; `samples` by name, in the order of the design."""

    annotation: Annotation
    regions: pd.DataFrame
    programme: Programme
    samples: dict[str, Cells]


def generator(seed: int, subject: str) -> np.random.Generator:
    """Return the generator of one subject, so that subjects never shift each other's draws."""
    return np.random.default_rng([seed, crc32(subject.encode())])


def plant_multiome(seed: int, size: Size, difficulty: Difficulty | None = None) -> Planted:
    """Draw genes, regions, their programme, and the cells of every sample."""
    difficulty = difficulty or Difficulty()
    annotation = place_genes(size.n_genes, size.n_chromosomes, generator(seed, "genes"))
    regions = place_regions(annotation, size.n_regions, generator(seed, "regions"))
    programme = plant(annotation, regions, difficulty, generator(seed, "programme"))
    samples = {
        name: draw_cells(
            design_of(name), size, programme, difficulty, generator(seed, f"cells {name}")
        )
        for name in size.samples
    }
    return Planted(annotation, regions, programme, samples)


def simulate_multiome(
    seed: int,
    n_cells: int = 200,
    *,
    n_genes: int = 300,
    n_peaks: int = 600,
    samples: tuple[str, ...] = ("Kidney_1", "Kidney_2"),
    n_fragments: float = 500,
    n_umis: float = 800,
) -> md.MuData:
    """Return `n_cells` cells over `samples` with planted types, in memory and without reads.

    Doublets are left out. `X` of both modalities holds integer counts (CSR); global obs has
    sample, barcode, batch, tissue, donor, dataset, cell_type and lineage; cells are named
    `<sample>#<barcode>`. `n_genes` counts nuclear genes; 13 mitochondrial ones are added.
    """
    designed = sum(design_of(name).n_cells for name in samples)
    scale = n_cells / designed
    size = Size(2, n_genes, n_peaks, n_fragments, n_umis, samples, cells=scale)
    planted = plant_multiome(seed, size, replace(Difficulty(), doublet_share=0))
    return as_multiome(planted)


def as_multiome(planted: Planted, samples: tuple[str, ...] | None = None) -> md.MuData:
    """Return the singlets of the samples as a multiome with planted types."""
    chosen = [planted.samples[name] for name in samples or planted.samples]
    single = [~cells.obs["is_doublet"].to_numpy() for cells in chosen]
    obs = pd.concat([c.obs[keep] for c, keep in zip(chosen, single, strict=True)])
    barcode = np.concatenate([_barcodes(keep.sum()) for keep in single])
    obs.index = pd.Index(obs["sample"].to_numpy() + "#" + barcode)
    obs.insert(1, "barcode", barcode)
    columns = ["sample", "barcode", "batch", "tissue", "donor", "dataset", "cell_type", "lineage"]
    genes, regions = planted.annotation.genes, planted.regions
    rna = ad.AnnData(
        sparse.vstack([c.rna[keep] for c, keep in zip(chosen, single, strict=True)], "csr"),
        obs=pd.DataFrame(index=obs.index),
        var=genes.set_index("gene_name")[["gene_id", "chrom", "gene_type"]].rename_axis(None),
    )
    label = regions["chrom"] + ":" + regions["start"].astype(str) + "-" + regions["end"].astype(str)
    atac = ad.AnnData(
        sparse.vstack([c.atac[keep] for c, keep in zip(chosen, single, strict=True)], "csr"),
        obs=pd.DataFrame(index=obs.index),
        var=regions[["chrom", "start", "end"]].set_index(pd.Index(label.to_numpy())),
    )
    return multiome(rna, atac, obs[columns])


def _barcodes(n: int) -> np.ndarray:
    """Distinct 16-base barcodes: the number, written in bases."""
    digits = np.arange(n)[:, None] // 4 ** np.arange(15, -1, -1) % 4
    letters = np.frombuffer(b"ACGT", np.uint8)[digits]
    return np.array([f"{row.tobytes().decode()}-1" for row in letters], dtype=object)
