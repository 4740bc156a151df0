"""Commands from counts to cells, clusters and cell types, and to how far these agree."""

from collections import Counter
from pathlib import Path

from epifoundation.cli.arguments import Add, Arguments, OutputFile, check_suffix, paper_section
from epifoundation.errors import ConfigError, DataError


def add_commands(add: Add) -> None:
    """Add the commands of this page."""
    one = add("pair", pair, "--rna filtered.h5 --atac counts.h5ad --output cells.h5mu")
    one.add_argument("--rna", type=Path, required=True, help="RNA: .h5, .h5ad, .h5mu or folder")
    one.add_argument(
        "--atac", type=Path, required=True, help="peaks: what `count` wrote, or as of --rna"
    )
    one.add_argument("--annotation", type=Path, help="GTF, for the genes' chromosomes and types")
    one.add_argument("--common", action="store_true", help="keep the barcodes that both have")
    one.add_argument("--output", type=OutputFile, required=True, help="h5mu to write")

    one = add("cluster", cluster, "--input cells.h5mu --output clustered.h5mu")
    one.add_argument("--input", type=Path, required=True, help="h5mu with rna and atac counts")
    one.add_argument("--output", type=OutputFile, required=True, help="h5mu to write")
    one.add_argument(
        "--small-samples",
        action="store_true",
        help="with fewer than 200 cells use as many candidates as there are (departs from Seurat)",
    )

    one = add("cluster-rna", cluster_rna, "--input cells.h5mu --sample liver --output rna.tsv")
    one.add_argument("--input", type=Path, required=True, help="RNA counts: .h5, .h5ad or .h5mu")
    one.add_argument("--sample", required=True, help="cells are named `<sample>#<barcode>`")
    one.add_argument("--output", type=OutputFile, required=True, help="TSV to write")
    one.add_argument(
        "--small-samples",
        action="store_true",
        help="with fewer than 20 cells shorten the lists of neighbours (departs from Seurat)",
    )

    one = add("label", label, "--clusters c.h5mu --profiles disco.csv --output labels.tsv")
    one.add_argument("--clusters", type=Path, required=True, help="what `cluster` wrote")
    one.add_argument("--rna-clusters", type=Path, help="what `cluster-rna` wrote, to label these")
    one.add_argument("--profiles", type=Path, required=True, help="symbols × `type--atlas`")
    one.add_argument("--atlas", help="which atlas of the profiles (needed if there are several)")
    one.add_argument("--method", choices=("spearman", "cellid"), help="default: the paper's")
    one.add_argument("--min-margin", type=float, help="closer scores: unassigned (default 0)")
    one.add_argument("--min-shared-genes", type=int, help="fewest genes in common")
    one.add_argument("--merge-synonyms", action="store_true", help="one name per type")
    one.add_argument("--output", type=OutputFile, required=True, help="TSV to write")

    one = add("compare-labels", compare_labels, "--labels wnn=a.tsv rna=b.tsv --output agree.tsv")
    one.add_argument("--labels", nargs="+", required=True, help="NAME=FILE of what `label` wrote")
    one.add_argument(
        "--atlas", help="the cells' DISCO atlas, where a name has a meaning of its own"
    )
    one.add_argument("--given", type=Path, help="h5mu whose obs has cell_type, as one more source")
    one.add_argument(
        "--output", type=OutputFile, required=True, help="TSV of ARI, NMI and agreement"
    )
    one.add_argument("--confusion", type=OutputFile, help="TSV of cells by their two types")


def pair(args: Arguments) -> None:
    """Join RNA and peak counts of the same cells in the h5mu that `cluster` takes."""
    from epifoundation.data.annotation import read_genes
    from epifoundation.data.cells import paired_cells
    from epifoundation.data.imports import read_atac, read_rna
    from epifoundation.multiome import write_multiome

    check_suffix(args.output, ".h5mu")
    rna = read_rna(args.rna, read_genes(args.annotation) if args.annotation else None)
    where = f"{args.rna} and {args.atac}"
    cells = paired_cells(rna, read_atac(args.atac), where=where, common=args.common)
    write_multiome(cells, args.output)


def cluster(args: Arguments) -> None:
    """Cluster cells over both modalities: PCA, LSI, weighted nearest neighbours, Louvain."""
    from epifoundation.config import ClusterConfig
    from epifoundation.data import clusters
    from epifoundation.multiome import read_multiome, write_multiome

    check_suffix(args.output, ".h5mu")
    settings = paper_section(ClusterConfig, "cluster", small_samples=args.small_samples)
    cells = read_multiome(args.input)
    clustered = clusters.cluster_cells(cells, settings, n_threads=args.threads)
    write_multiome(clustered, args.output)


def cluster_rna(args: Arguments) -> None:
    """Cluster cells by their RNA alone: PCA, shared nearest neighbours, Louvain."""
    from epifoundation.config import ClusterConfig
    from epifoundation.contracts import CLUSTERS
    from epifoundation.data import clusters
    from epifoundation.data.imports import read_rna
    from epifoundation.samples import NAME

    if not NAME.fullmatch(args.sample):
        message = f"--sample {args.sample!r}: a name has letters, digits, `_`, `-` and `.` only"
        raise ConfigError(message)
    settings = paper_section(ClusterConfig, "cluster", small_samples=args.small_samples)
    rna = read_rna(args.input, None)
    CLUSTERS.write(clusters.cluster_rna(rna, settings, sample=args.sample, qc=None), args.output)


def label(args: Arguments) -> None:
    """Give each cluster the cell type whose DISCO profile it follows best."""
    from epifoundation.config import LabelConfig
    from epifoundation.contracts import CLUSTERS, LABELS
    from epifoundation.data.labels import label_clusters
    from epifoundation.data.profiles import atlases_of, read_profiles
    from epifoundation.multiome import read_multiome

    asked = {name: getattr(args, name) for name in ("method", "min_margin", "min_shared_genes")}
    given = {name: value for name, value in asked.items() if value is not None}
    settings = paper_section(LabelConfig, "labels", merge_synonyms=args.merge_synonyms, **given)
    profiles = read_profiles(args.profiles)
    if args.atlas and not atlases_of(profiles.columns):
        message = (
            f"--atlas {args.atlas}: the profiles of {args.profiles} name no atlas (their columns"
            f" are e.g. {profiles.columns[0]!r}, not `type--atlas`). Leave --atlas out to use all."
        )
        raise DataError(message)
    clustered = read_multiome(args.clusters, needs_obs=() if args.rna_clusters else ("cluster",))
    clusters = CLUSTERS.read(args.rna_clusters) if args.rna_clusters else None
    labels = label_clusters(clustered, profiles, args.atlas, settings, clusters=clusters)
    LABELS.write(labels, args.output)


def compare_labels(args: Arguments) -> None:
    """Say how far label sources agree about the same cells: ARI, NMI, share of equal types."""
    import pandas as pd

    from epifoundation.contracts import AGREEMENT, CONFUSION, LABELS
    from epifoundation.data.label_agreement import compare_sources, given_types, sources_of

    wrong = [item for item in args.labels if "=" not in item]
    if wrong:
        message = f"--labels {wrong[0]}: write NAME=FILE, such as disco_wnn=labels.tsv"
        raise ConfigError(message)
    named = [item.split("=", 1) for item in args.labels]
    repeated = [name for name, n in Counter(name for name, _ in named).items() if n > 1]
    if repeated:
        message = (
            f"--labels: {len(repeated)} of the names of {len(named)} files repeat (first:"
            f" {repeated[0]}). Name each source once."
        )
        raise ConfigError(message)
    if len(named) + bool(args.given) < 2:
        message = "there is one source of labels only. Name two with --labels, or add --given."
        raise ConfigError(message)
    tables = {name: LABELS.read(path) for name, path in named}
    cells = pd.Index(next(iter(tables.values()))["barcode"])
    given = pd.Series("", index=cells)
    if args.given:
        given = given_types(args.given).reindex(cells)
        if not (given.fillna("") != "").any():
            message = (
                f"{args.given} gives no cell type of the {len(cells):,} cells labelled (first:"
                f" {cells[0]}): its obs needs a column cell_type, and the same names of cells."
            )
            raise DataError(message)
    types = sources_of([given], ["cells"], tables, atlases=[args.atlas])
    agreement, confusion = compare_sources(types)
    AGREEMENT.write(agreement, args.output)
    if args.confusion:
        CONFUSION.write(confusion, args.confusion)
