"""Commands from fragments to peaks and counts; and a simulation to try them on."""

from pathlib import Path

from epifoundation.cli.arguments import (
    Add,
    Arguments,
    OutputFile,
    add_cells,
    add_peaks,
    check_suffix,
    checked,
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
    one.add_argument("--output", type=OutputFile, required=True, help="BED to write")
    one.add_argument("--blacklist", type=Path, help="BED of regions without peaks")
    one.add_argument("--chromosomes", nargs="+", help="chromosomes kept (default: the paper's 24)")
    one.add_argument("--chrom-sizes", type=Path, help="names and lengths: peaks are cut there")
    one.add_argument("--genome-size", type=float, help="MACS2 -g (default: config.yaml's)")
    one.add_argument("--keep-duplicates", help="MACS2 --keep-dup (default: config.yaml's)")
    one.add_argument("--caller", choices=("macs2", "macs3"), help="default: config.yaml's")
    parts = one.add_mutually_exclusive_group()
    parts.add_argument("--each-file", action="store_true", help="call on each file, then merge")
    parts.add_argument(
        "--groups",
        type=Path,
        nargs="+",
        help="call on each group, then merge: a table of barcode, tab, group for each file",
    )
    one.add_argument("--summary", type=OutputFile, help="TSV to write: what was removed, occupancy")

    one = add("count", count, "--fragments f.tsv.gz --peaks p.bed --barcodes b.txt --output m.h5ad")
    add_cells(one)
    add_peaks(one, "BED of peaks", required=True)
    one.add_argument(
        "--keep-absent",
        action="store_true",
        help="keep peaks on chromosomes without fragments, as zeros (default: dropped)",
    )


def simulate(args: Arguments) -> None:
    """Write a simulated multiome with planted truth: genome, reads, reference profiles."""
    from epifoundation.config import SimulateConfig
    from epifoundation.simulate import write_simulation

    settings = checked(SimulateConfig, "simulate", {"seed": args.seed, "size": args.size})
    write_simulation(args.output, settings)


def call_peaks(args: Arguments) -> None:
    """Call peaks with MACS2 on pooled fragments, as Signac's CallPeaks does."""
    import pandas as pd

    from epifoundation.config import PeakConfig
    from epifoundation.contracts import PEAK_SUMMARY
    from epifoundation.data import peaks
    from epifoundation.data.groups import read_groups
    from epifoundation.data.intervals import read_chrom_sizes
    from epifoundation.data.regions import read_bed

    changed = {name: getattr(args, name) for name in ("genome_size", "keep_duplicates", "caller")}
    given = {name: value for name, value in changed.items() if value is not None}
    calls = "cluster" if args.groups else "sample" if args.each_file else "pooled"
    called, summary = peaks.call_peaks(
        args.fragments,
        paper_section(PeakConfig, "peaks", calls=calls, **given),
        standard_chromosomes=args.chromosomes or paper_values("reference")["standard_chromosomes"],
        blacklist=read_bed(args.blacklist)
        if args.blacklist
        else pd.DataFrame({"chrom": [], "start": [], "end": []}),
        chrom_sizes=read_chrom_sizes(args.chrom_sizes) if args.chrom_sizes else None,
        groups=[read_groups(path) for path in args.groups] if args.groups else None,
        threads=args.threads,
    )
    peaks.write_peaks(called, args.output)
    if args.summary:
        PEAK_SUMMARY.write(summary, args.summary)


def count(args: Arguments) -> None:
    """Count each barcode's fragments in each peak, as Signac's FeatureMatrix does."""
    from epifoundation.data.cells import write_counts
    from epifoundation.data.fragments import count_fragments_in_peaks
    from epifoundation.data.peak_files import known_sizes, read_peaks

    check_suffix(args.output, ".h5ad")
    sizes = known_sizes(args.chrom_sizes)
    counts = count_fragments_in_peaks(
        args.fragments,
        read_peaks(args.peaks, chromosome_sizes=sizes),
        lines_of(args.barcodes),
        keep_absent=args.keep_absent,
        threads=args.threads,
        chromosome_sizes=sizes,
    )
    counts.var["feature_types"] = "Peaks"  # so that nobody takes them for genes
    write_counts(counts, args.output)
