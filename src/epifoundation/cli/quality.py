"""Commands on the quality of barcodes, and on gene activity."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from epifoundation.cli.arguments import (
    Add,
    Arguments,
    OutputFile,
    add_cells,
    add_peaks,
    check_suffix,
    lines_of,
    paper_section,
    paper_values,
)
from epifoundation.errors import ConfigError, DataError

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd

TABLES = ("cells", "funnel", "alternatives")  # what the criteria need both counts for


def add_commands(add: Add) -> None:
    """Add the commands of this page."""
    one = add("qc", qc, "--fragments f.tsv.gz --annotation g.gtf --barcodes b.txt --output qc.tsv")
    add_cells(one)
    one.add_argument("--annotation", type=Path, required=True, help="GTF")
    add_peaks(one, "BED of peaks, for frac_in_peaks", required=False)
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
    _add_criteria(one)

    one = add(
        "gene-activity",
        gene_activity,
        "--fragments f.tsv.gz --barcodes b.tsv --annotation g.gtf --output a.h5ad",
    )
    add_cells(one)
    one.add_argument("--annotation", type=Path, required=True, help="GTF")
    one.add_argument(
        "--normalize", action="store_true", help="log-normalise X; counts stay in layers['counts']"
    )


def _add_criteria(command: argparse.ArgumentParser) -> None:
    criteria = command.add_argument_group("the six criteria (with --rna and --peaks)")
    criteria.add_argument("--rna", type=Path, help="RNA counts of the barcodes: .h5, .h5ad, folder")
    criteria.add_argument(
        "--cells", type=OutputFile, help="list to write: those that meet them all"
    )
    criteria.add_argument("--funnel", type=OutputFile, help="TSV to write: removed by each one")
    criteria.add_argument(
        "--alternatives", type=OutputFile, help="TSV to write: cells under other definitions"
    )
    criteria.add_argument(
        "--limit",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting of qc, e.g. min_tss_enrichment=2 (default: config.yaml's)",
    )


def qc(args: Arguments) -> None:
    """Measure barcodes: fragments, nucleosome signal, TSS enrichment, where fragments lie."""
    from epifoundation.data.annotation import protein_coding, read_genes
    from epifoundation.data.peak_files import known_sizes, read_peaks
    from epifoundation.data.qc import measure_fragments
    from epifoundation.data.regions import read_bed
    from epifoundation.files import whole

    if args.rna or args.limit or any(getattr(args, name) for name in TABLES):
        return _judge(args)
    sizes = known_sizes(args.chrom_sizes)
    metrics = measure_fragments(
        args.fragments,
        protein_coding(read_genes(args.annotation), args.annotation),
        lines_of(args.barcodes),
        peaks=read_peaks(args.peaks, chromosome_sizes=sizes) if args.peaks else None,
        blacklist=read_bed(args.blacklist) if args.blacklist else None,
        mitochondrial=_mitochondrial(args),
        nucleosome_lines=args.nucleosome_lines,
        tss=args.tss,
        threads=args.threads,
        chromosome_sizes=sizes,
    )
    with whole(args.output) as partial:
        metrics.to_csv(partial, sep="\t", index=False)
    return None


def _judge(args: Arguments) -> None:
    """Write contracts.BARCODE_METRICS, and what the six criteria make of them."""
    from epifoundation.config import QcConfig
    from epifoundation.contracts import BARCODE_METRICS, QC_ALTERNATIVES, QC_FUNNEL
    from epifoundation.data.criteria import judge_barcodes, no_cell_left, qc_alternatives
    from epifoundation.files import whole

    if not (args.rna and args.peaks):
        message = (
            "the six criteria limit UMIs and counts in peaks: give --rna and --peaks with --cells,"
            " --funnel, --alternatives and --limit"
        )
        raise ConfigError(message)
    chosen = {"nucleosome_lines": args.nucleosome_lines, "tss_enrichment": args.tss}
    settings = paper_section(QcConfig, "qc", **{**chosen, **_limits(args.limit)})
    metrics = _measured(args)
    cells, funnel = judge_barcodes(metrics, settings, sample=str(args.rna))
    # Tables are written also where no cell is left: they say why.
    BARCODE_METRICS.write(metrics, args.output)
    if args.funnel:
        QC_FUNNEL.write(funnel, args.funnel)
    if args.alternatives:
        QC_ALTERNATIVES.write(qc_alternatives(metrics, settings), args.alternatives)
    if cells.empty:
        raise DataError(no_cell_left(metrics, settings, str(args.rna)))
    if args.cells:
        with whole(args.cells) as partial:
            partial.write_text("".join(f"{barcode}\n" for barcode in cells["barcode"]))


def _measured(args: Arguments) -> "pd.DataFrame":
    from epifoundation.data.annotation import protein_coding, read_genes
    from epifoundation.data.imports import read_rna
    from epifoundation.data.peak_files import known_sizes, read_peaks
    from epifoundation.data.qc import count_and_measure
    from epifoundation.data.regions import read_bed

    genes = read_genes(args.annotation)
    protein_coding(genes, args.annotation)
    blacklist = read_bed(args.blacklist) if args.blacklist else None
    sizes = known_sizes(args.chrom_sizes)
    return count_and_measure(
        args.fragments,
        read_peaks(args.peaks, chromosome_sizes=sizes),
        _of_barcodes(read_rna(args.rna, genes), args),
        genes,
        blacklist,
        mitochondrial=_mitochondrial(args),
        threads=args.threads,
        chromosome_sizes=sizes,
    )[1]


def _of_barcodes(rna: "ad.AnnData", args: Arguments) -> "ad.AnnData":
    barcodes = lines_of(args.barcodes)
    missing = [barcode for barcode in barcodes if barcode not in rna.obs_names]
    if missing:
        message = (
            f"{args.rna}: {len(missing):,} of the {len(barcodes):,} barcodes of {args.barcodes} are"
            f" not in it (first: {missing[0]}, it has {rna.obs_names[0]}). Are they of the same"
            " sample, with the same suffix?"
        )
        raise DataError(message)
    return rna[barcodes].copy()


def _mitochondrial(args: Arguments) -> str:
    return str(args.mitochondrial or paper_values("reference")["mitochondrial"])


def _limits(given: list[str]) -> dict[str, object]:
    limits: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            message = f"--limit {text!r} is not NAME=VALUE, such as min_tss_enrichment=2"
            raise ConfigError(message)
        limits[name] = None if value in ("", "null", "none") else value
    return limits


def gene_activity(args: Arguments) -> None:
    """Count each barcode's fragments over gene bodies and promoters, as Signac's GeneActivity."""
    from epifoundation.data import gene_activity as activity
    from epifoundation.data.cells import write_counts

    check_suffix(args.output, ".h5ad")
    counts = activity.gene_activity(
        args.fragments, args.annotation, lines_of(args.barcodes), threads=args.threads
    )
    write_counts(activity.log_normalized(counts) if args.normalize else counts, args.output)
