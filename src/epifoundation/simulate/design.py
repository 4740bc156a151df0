"""What is simulated: types, lineages, samples and sizes, fixed before any model is run."""

from dataclasses import dataclass, field, replace
from types import MappingProxyType

LINEAGE_OF = MappingProxyType(
    {
        "CD4 T cell": "lymphoid",
        "CD8 T cell": "lymphoid",
        "B cell": "lymphoid",
        "NK cell": "lymphoid",
        "Monocyte": "myeloid",
        "Dendritic cell": "myeloid",
        "Mast cell": "myeloid",
        "Proximal epithelial cell": "structural",
        "Distal epithelial cell": "structural",
        "Endothelial cell": "structural",
    }
)
CELL_TYPES = tuple(LINEAGE_OF)
LINEAGES = tuple(dict.fromkeys(LINEAGE_OF.values()))
SISTERS = (
    ("CD4 T cell", "CD8 T cell"),
    ("Proximal epithelial cell", "Distal epithelial cell"),
)
RARE_TYPE = "Mast cell"
GRADIENT_TYPE = "Monocyte"  # a continuous state within the type
DEPTH_OF = MappingProxyType({"Monocyte": 1.15, "B cell": 0.9, "Endothelial cell": 1.15})
# Names that single atlases of the reference table use for a type.
SYNONYMS = MappingProxyType(
    {
        ("blood", "Monocyte"): "Classical monocyte",
        ("bone_marrow", "Dendritic cell"): "cDC",
        ("kidney", "Endothelial cell"): "EC",
    }
)


@dataclass(frozen=True)
class SampleDesign:
    """One library: where it comes from and what is in it.

    `composition` gives the share of each type; `depth` multiplies the typical depth; `layout` is
    that of the ATAC barcode read: `spacer_reverse` (8-base spacer, then the barcode reverse-
    complemented), `forward_spacer` or `trimmed` (16 bases, reverse-complemented).
    """

    name: str
    dataset: str  # empty for atlas samples
    tissue: str
    batch: str
    donor: str
    disco_atlas: str
    n_cells: int
    depth: float
    composition: dict[str, float]
    layout: str = "spacer_reverse"
    n_lanes: int = 1

    @property
    def number(self) -> int:
        """Number of the sample in its accessions, from 1."""
        return [sample.name for sample in ALL_SAMPLES].index(self.name) + 1


def _shares(**percent: int) -> dict[str, float]:
    total = sum(percent.values())
    return {_SHORT[name]: value / total for name, value in percent.items()}


_SHORT = {
    "cd4": "CD4 T cell",
    "cd8": "CD8 T cell",
    "b": "B cell",
    "nk": "NK cell",
    "mono": "Monocyte",
    "dc": "Dendritic cell",
    "mast": "Mast cell",
    "prox": "Proximal epithelial cell",
    "dist": "Distal epithelial cell",
    "endo": "Endothelial cell",
}
_SHALLOW, _DEEP = 1.4**-0.5, 1.4**0.5  # batches of a data set are 1.4 times apart

SAMPLES = (
    SampleDesign(
        "Lung", "", "Lung", "Lung", "donor1", "lung", 530, 1.0,
        _shares(prox=14, dist=17, endo=13, cd4=12, cd8=11, b=7, mono=15, mast=11),
        n_lanes=2,
    ),
    SampleDesign(
        "Liver", "", "Liver", "Liver", "donor2", "liver", 255, 1.05,
        _shares(endo=19, cd4=18, cd8=15, nk=16, mono=17, dc=15),
    ),
    SampleDesign(
        "Colon", "", "Colon", "Colon", "donor3", "intestine", 255, 1.0,
        _shares(prox=20, dist=17, b=16, cd4=15, dc=16, mono=16),
        layout="forward_spacer",
    ),
    SampleDesign(
        "Kidney_1", "Kidney", "Kidney", "Kidney_1", "donor2", "kidney", 290, _SHALLOW,
        _shares(prox=26, dist=20, endo=18, cd4=17, mono=19),
    ),
    SampleDesign(
        "Kidney_2", "Kidney", "Kidney", "Kidney_2", "donor4", "kidney", 235, _DEEP,
        _shares(prox=17, dist=21, endo=16, cd4=14, mono=16, mast=16),
    ),
    SampleDesign(
        "PBMC_1", "PBMC", "PBMC", "PBMC_1", "donor5", "blood", 290, _SHALLOW,
        _shares(cd4=25, cd8=19, b=18, nk=16, mono=22),
    ),
    SampleDesign(
        "PBMC_2", "PBMC", "PBMC", "PBMC_2", "donor6", "blood", 235, _DEEP,
        _shares(cd4=19, cd8=22, b=14, nk=15, mono=16, dc=14),
        layout="trimmed",
    ),
    SampleDesign(
        "BMMC_1", "BMMC", "BMMC", "BMMC_1", "donor7", "bone_marrow", 290, _SHALLOW,
        _shares(cd4=18, cd8=21, b=21, mono=22, dc=18),
    ),
    SampleDesign(
        "BMMC_2", "BMMC", "BMMC", "BMMC_2", "donor8", "bone_marrow", 235, _DEEP,
        _shares(cd4=21, cd8=15, b=17, mono=16, dc=15, mast=16),
    ),
)  # fmt: skip
# A second batch of each atlas tissue, for runs in which batch and tissue are not the same.
SECOND_BATCHES = tuple(
    replace(sample, name=f"{sample.tissue}_2", batch=f"{sample.tissue}_2", donor=donor, depth=depth)
    for sample, donor, depth in zip(
        (sample for sample in SAMPLES if not sample.dataset),
        ("donor9", "donor10", "donor11"),
        (_DEEP, _SHALLOW, _DEEP),
        strict=True,
    )
)
ALL_SAMPLES = SAMPLES + SECOND_BATCHES


@dataclass(frozen=True)
class Size:
    """How much is simulated; shares and effects are those of `Difficulty` at any size."""

    n_chromosomes: int
    n_genes: int  # nuclear; 13 mitochondrial genes come on top
    n_regions: int
    n_fragments: float  # of a typical cell, duplicates not counted
    n_umis: float
    samples: tuple[str, ...]
    cells: float = 1.0  # of the cells of each sample
    n_empty: int = 2000  # empty barcodes of a sample
    n_whitelist: int = 20_000


SIZES = MappingProxyType(
    {
        "demo": Size(5, 4050, 6000, 2200, 2000, tuple(s.name for s in SAMPLES)),
        "demo_two_batches": Size(5, 4050, 6000, 2200, 2000, tuple(s.name for s in ALL_SAMPLES)),
        "small": Size(2, 300, 600, 1800, 1700, ("Lung", "Kidney_1"), 0.2, 200, 2000),
    }
)


@dataclass(frozen=True)
class Difficulty:
    """The free numbers of the specification, chosen on the controls alone (docs/decisions)."""

    # Shares of all regions, and odds ratios of being accessible.
    lineage_share: float = 0.12  # specific to one of the lineages
    lineage_odds: float = 4.0
    type_share: float = 0.03  # each type without a sister
    type_odds: float = 4.0
    sister_share: float = 0.03  # each pair, half of them up in either sister
    sister_odds: float = 2.5
    gradient_share: float = 0.05
    gradient_odds: float = 2.5  # between the two ends
    batch_share: float = 0.30
    batch_log_odds: float = 0.4  # standard deviation over the regions affected
    base_log_odds: float = 0.45  # standard deviation between regions
    rare_base: float = -1.0  # log-odds by which regions of the rare type are closed elsewhere
    # Programmes: continuous states within every type, shared by regions and the genes they drive.
    n_programmes: int = 24
    programme_log_odds: float = 0.7  # per standard deviation of the state
    programme_variance: float = 0.5  # of a linked gene's log rate
    linked_share: float = 0.33  # of all genes
    links_per_gene: float = 1.6
    skip_share: float = 0.30
    link_decay_bp: float = 20_000
    link_reach_bp: float = 60_000
    type_to_gene: float = 0.5  # log rate of a gene per log-odds of its region
    # Marker genes that no region drives.
    lineage_genes: float = 0.04  # each lineage
    type_genes: float = 0.04  # each type without a sister
    sister_genes: float = 0.12  # each pair
    marker_log_fold: float = 1.4
    gene_noise: float = 0.2  # standard deviation of a log rate, per cell and gene
    # Depth.
    depth_sigma: float = 0.45
    depth_correlation: float = 0.5
    in_regions: float = 0.86  # share of a cell's fragments
    copies: float = 2.2  # fragments per accessible region, away from saturation
    saturation: float = 0.5  # largest share of regions seen accessible in one cell
    ambient_rna: tuple[float, float] = (0.03, 0.10)
    ambient_atac: tuple[float, float] = (0.02, 0.05)
    doublet_share: float = 0.04
    empty_depth: float = 22.0
    background: dict[str, float] = field(
        default_factory=lambda: {"genome": 0.72, "chrM": 0.13, "scaffold": 0.05, "blacklist": 0.10}
    )


def design_of(name: str) -> SampleDesign:
    """Return the design of a sample."""
    return next(sample for sample in ALL_SAMPLES if sample.name == name)
