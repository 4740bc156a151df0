"""Commands from fragments and counts to labelled clusters."""

from pathlib import Path

from epifoundation.cli.arguments import (
    Add,
    Arguments,
    add_cells,
    lines_of,
    paper_section,
    paper_values,
)


def add_commands(add: Add) -> None:
    """Add the commands of this page."""
    one = add("simulate", simulate, "--output sim --seed 0 --size small")
    one.add_argument("--output", type=Path, required=True, help="folder to write")
    one.add_argument("--seed", type=int, default=0, help="seed of everything simulated")
    one.add_argument(
        "--size", choices=("small", "demo", "demo_two_batches"), default="small", help="how much"
    )

    one = add("call-peaks", call_peaks, "--fragments a.tsv.gz b.tsv.gz --output peaks.bed")
    one.add_argument("--fragments", type=Path, nargs="+", required=True, help="fragment files")
    one.add_argument("--output", type=Path, required=True, help="BED to write")
    one.add_argument("--blacklist", type=Path, help="BED of regions without peaks")
    one.add_argument("--chromosomes", nargs="+", help="chromosomes kept (default: the paper's 24)")
    one.add_argument("--genome-size", type=float, help="MACS2 -g (default: config.yaml's)")

    one = add("count", count, "--fragments f.tsv.gz --peaks p.bed --barcodes b.txt --output m.h5ad")
    add_cells(one)
    one.add_argument("--peaks", type=Path, required=True, help="BED of peaks")
    one.add_argument("--keep-absent", action="store_true", help="keep peaks off the fragments")

    one = add("qc", qc, "--fragments f.tsv.gz --annotation g.gtf --barcodes b.txt --output qc.tsv")
    add_cells(one)
    one.add_argument("--annotation", type=Path, required=True, help="GTF")
    one.add_argument("--peaks", type=Path, help="BED of peaks, for frac_in_peaks")
    one.add_argument("--blacklist", type=Path, help="BED of regions, for frac_in_blacklist")
    one.add_argument("--mitochondrial", help="its name, for its share of fragments (default chrM)")
    one.add_argument(
        "--nucleosome-lines",
        choices=("all", "signac"),
        default="all",
        help="nucleosome signal over the whole file, or Signac's first 5,000 lines per barcode",
    )
    one.add_argument(
        "--tss", choices=("fast", "slow"), default="fast", help="which of Signac's TSS scores"
    )

    one = add("gene-activity", gene_activity, "--fragments f.tsv.gz --annotation g.gtf …")
    add_cells(one)
    one.add_argument("--annotation", type=Path, required=True, help="GTF")

    one = add("cluster", cluster, "--input cells.h5mu --output clustered.h5mu")
    one.add_argument("--input", type=Path, required=True, help="h5mu with rna and atac counts")
    one.add_argument("--output", type=Path, required=True, help="h5mu to write")
    one.add_argument("--small-samples", action="store_true", help="allow fewer than 200 cells")

    one = add("label", label, "--clusters clustered.h5mu --profiles disco.tsv --atlas blood …")
    one.add_argument("--clusters", type=Path, required=True, help="what `cluster` wrote")
    one.add_argument("--profiles", type=Path, required=True, help="symbols × `type--atlas`")
    one.add_argument("--atlas", help="which atlas of the profiles (needed if there are several)")
    one.add_argument("--min-shared-genes", type=int, help="fewest genes in common")
    one.add_argument("--output", type=Path, required=True, help="TSV to write")


def simulate(args: Arguments) -> None:
    """Write a simulated multiome with planted truth: genome, reads, reference profiles."""
    from epifoundation.config import SimulateConfig
    from epifoundation.simulate import write_simulation

    write_simulation(args.output, SimulateConfig(seed=args.seed, size=args.size))


def call_peaks(args: Arguments) -> None:
    """Call peaks with MACS2 on pooled fragments, as Signac's CallPeaks does."""
    import pandas as pd

    from epifoundation.config import PeakConfig
    from epifoundation.data import peaks
    from epifoundation.data.regions import read_bed

    size = {} if args.genome_size is None else {"genome_size": args.genome_size}
    called, _ = peaks.call_peaks(
        args.fragments,
        paper_section(PeakConfig, "peaks", **size),
        standard_chromosomes=args.chromosomes or paper_values("reference")["standard_chromosomes"],
        blacklist=read_bed(args.blacklist)
        if args.blacklist
        else pd.DataFrame({"chrom": [], "start": [], "end": []}),
    )
    peaks.write_peaks(called, args.output)


def count(args: Arguments) -> None:
    """Count each barcode's fragments in each peak, as Signac's FeatureMatrix does."""
    from epifoundation.data.cells import write_counts
    from epifoundation.data.fragments import count_fragments_in_peaks
    from epifoundation.data.regions import read_bed

    counts = count_fragments_in_peaks(
        args.fragments,
        read_bed(args.peaks),
        lines_of(args.barcodes),
        keep_absent=args.keep_absent,
    )
    write_counts(counts, args.output)


def qc(args: Arguments) -> None:
    """Measure barcodes: fragments, nucleosome signal, TSS enrichment, where fragments lie."""
    from epifoundation.data.annotation import protein_coding, read_genes
    from epifoundation.data.qc import measure_fragments
    from epifoundation.data.regions import read_bed
    from epifoundation.files import whole

    metrics = measure_fragments(
        args.fragments,
        protein_coding(read_genes(args.annotation), args.annotation),
        lines_of(args.barcodes),
        peaks=read_bed(args.peaks) if args.peaks else None,
        blacklist=read_bed(args.blacklist) if args.blacklist else None,
        mitochondrial=args.mitochondrial or paper_values("reference")["mitochondrial"],
        nucleosome_lines=args.nucleosome_lines,
        tss=args.tss,
    )
    with whole(args.output) as partial:
        metrics.to_csv(partial, sep="\t", index=False)


def gene_activity(args: Arguments) -> None:
    """Count each barcode's fragments over gene bodies and promoters, as Signac's GeneActivity."""
    from epifoundation.data import gene_activity as activity
    from epifoundation.data.cells import write_counts

    counts = activity.gene_activity(args.fragments, args.annotation, lines_of(args.barcodes))
    write_counts(counts, args.output)


def cluster(args: Arguments) -> None:
    """Cluster cells over both modalities: PCA, LSI, weighted nearest neighbours, Louvain."""
    from epifoundation.config import ClusterConfig
    from epifoundation.data.clusters import cluster_cells
    from epifoundation.multiome import read_multiome, write_multiome

    settings = paper_section(ClusterConfig, "cluster", small_samples=args.small_samples)
    write_multiome(cluster_cells(read_multiome(args.input), settings), args.output)


def label(args: Arguments) -> None:
    """Give each cluster the cell type whose DISCO profile it follows best."""
    from epifoundation.config import LabelConfig
    from epifoundation.contracts import LABELS
    from epifoundation.data.labels import label_clusters, read_profiles
    from epifoundation.multiome import read_multiome

    fewest = args.min_shared_genes
    settings = paper_section(
        LabelConfig, "labels", **({} if fewest is None else {"min_shared_genes": fewest})
    )
    clustered = read_multiome(args.clusters, needs_obs=("cluster",))
    labels = label_clusters(clustered, read_profiles(args.profiles), args.atlas, settings)
    LABELS.write(labels, args.output)
