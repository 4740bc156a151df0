"""The same functions for one's own data: `epifoundation <command> --help`."""

import argparse
import gzip
import json
import logging
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from threadpoolctl import threadpool_limits

from epifoundation.config import Section
from epifoundation.errors import ConfigError, DataError, EpiFoundationError

Arguments = argparse.Namespace
SomeSection = TypeVar("SomeSection", bound=Section)
EXIT_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it is done, 2 with one line on stderr when it cannot be done."""
    parsed = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    threadpool_limits(parsed.threads)
    try:
        parsed.run(parsed)
    except EpiFoundationError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_ERROR
    except OSError as error:
        where = error.filename or "a file"
        sys.stderr.write(f"error: {where}: {error.strerror or error}. Check the path.\n")
        return EXIT_ERROR
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="epifoundation", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Arguments], None], example: str) -> argparse.ArgumentParser:
        summary = (run.__doc__ or "").splitlines()[0]
        command = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example: epifoundation {name} {example}",
        )
        command.add_argument("--threads", type=int, default=1, help="threads (default 1)")
        command.set_defaults(run=run)
        return command

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
    _add_cells(one)
    one.add_argument("--peaks", type=Path, required=True, help="BED of peaks")
    one.add_argument("--keep-absent", action="store_true", help="keep peaks off the fragments")

    one = add("qc", qc, "--fragments f.tsv.gz --annotation g.gtf --barcodes b.txt --output qc.tsv")
    _add_cells(one)
    one.add_argument("--annotation", type=Path, required=True, help="GTF")
    one.add_argument("--peaks", type=Path, help="BED of peaks, for frac_in_peaks")

    one = add("gene-activity", gene_activity, "--fragments f.tsv.gz --annotation g.gtf …")
    _add_cells(one)
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

    one = add("score-embedding", score_embedding, "--input X.h5ad --embedding X_pca …")
    one.add_argument("--input", type=Path, required=True, help="h5ad with the embedding in obsm")
    one.add_argument("--embedding", required=True, help="key of obsm")
    one.add_argument("--label", required=True, help="column of obs with cell types")
    one.add_argument("--batch", required=True, help="column of obs with batches")
    one.add_argument("--output", type=Path, required=True, help="JSON to write")
    return parser


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
        _paper(PeakConfig, "peaks", **size),
        standard_chromosomes=args.chromosomes or _paper_values("reference")["standard_chromosomes"],
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
        _lines(args.barcodes),
        keep_absent=args.keep_absent,
    )
    write_counts(counts, args.output)


def qc(args: Arguments) -> None:
    """Measure barcodes: fragments, nucleosome signal, TSS enrichment, share in peaks."""
    from epifoundation.data.annotation import read_genes
    from epifoundation.data.qc import measure_fragments
    from epifoundation.data.regions import read_bed
    from epifoundation.files import whole

    metrics = measure_fragments(
        args.fragments,
        read_genes(args.annotation),
        _lines(args.barcodes),
        peaks=read_bed(args.peaks) if args.peaks else None,
    )
    with whole(args.output) as partial:
        metrics.to_csv(partial, sep="\t", index=False)


def gene_activity(args: Arguments) -> None:
    """Count each barcode's fragments over gene bodies and promoters, as Signac's GeneActivity."""
    from epifoundation.data import gene_activity as activity
    from epifoundation.data.cells import write_counts

    counts = activity.gene_activity(args.fragments, args.annotation, _lines(args.barcodes))
    write_counts(counts, args.output)


def cluster(args: Arguments) -> None:
    """Cluster cells over both modalities: PCA, LSI, weighted nearest neighbours, Louvain."""
    from epifoundation.config import ClusterConfig
    from epifoundation.data.clusters import cluster_cells
    from epifoundation.multiome import read_multiome, write_multiome

    settings = _paper(ClusterConfig, "cluster", small_samples=args.small_samples)
    write_multiome(cluster_cells(read_multiome(args.input), settings), args.output)


def label(args: Arguments) -> None:
    """Give each cluster the cell type whose DISCO profile it follows best."""
    from epifoundation.config import LabelConfig
    from epifoundation.contracts import LABELS
    from epifoundation.data.labels import label_clusters, read_profiles
    from epifoundation.multiome import read_multiome

    fewest = args.min_shared_genes
    settings = _paper(
        LabelConfig, "labels", **({} if fewest is None else {"min_shared_genes": fewest})
    )
    clustered = read_multiome(args.clusters, needs_obs=("cluster",))
    labels = label_clusters(clustered, read_profiles(args.profiles), args.atlas, settings)
    LABELS.write(labels, args.output)


def score_embedding(args: Arguments) -> None:
    """Score an embedding by the six scIB metrics of the paper: iso nmi casw clisi basw gc."""
    import anndata as ad

    from epifoundation.evaluation.integration import integration_metrics
    from epifoundation.files import whole

    cells = ad.read_h5ad(args.input)
    for where, key in (("obsm", args.embedding), ("obs", args.label), ("obs", args.batch)):
        if key not in getattr(cells, where):
            found = ", ".join(getattr(cells, where)) or "nothing"
            message = f"{args.input} has no {where}[{key!r}] (found: {found})"
            raise ConfigError(message)
    embedding, obs = cells.obsm[args.embedding], cells.obs
    scores = integration_metrics(embedding, obs[args.label], obs[args.batch])
    values: dict[str, float | None] = {}
    for name, score in scores.items():
        values[name] = None if math.isnan(score.value) else score.value
        if score.note:
            logging.getLogger(__name__).warning("%s: %s", name, score.note)
    with whole(args.output) as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n")


def _add_cells(command: argparse.ArgumentParser) -> None:
    command.add_argument("--fragments", type=Path, required=True, help="fragments.tsv.gz")
    command.add_argument("--barcodes", type=Path, required=True, help="one barcode a line")
    command.add_argument("--output", type=Path, required=True, help="file to write")


def _lines(path: Path) -> list[str]:
    compressed = path.suffix == ".gz"
    text = gzip.decompress(path.read_bytes()).decode() if compressed else path.read_text()
    lines = [line for line in text.splitlines() if line]
    if not lines:
        message = f"{path} holds no barcode. Give one barcode a line."
        raise DataError(message)
    return lines


def _paper_values(section: str) -> dict[str, Any]:
    """Return a section of the config.yaml that is packaged, a link to the workflow's."""
    text = Path(__file__).with_name("config.yaml").read_text()
    values: dict[str, Any] = yaml.safe_load(text)[section]
    return values


def _paper(kind: type[SomeSection], section: str, **changed: object) -> SomeSection:
    return kind.model_validate({**_paper_values(section), **changed})


if __name__ == "__main__":
    sys.exit(main())
