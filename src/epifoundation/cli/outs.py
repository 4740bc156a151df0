"""What aligners made: two of their outputs compared."""

from pathlib import Path

from epifoundation.cli.arguments import Add, Arguments, OutputFile


def add_commands(add: Add) -> None:
    """Add the commands of this page."""
    one = add("compare-outs", compare_outs, "--outs arc/outs open/outs --output agreement.tsv")
    one.add_argument(
        "--outs",
        type=Path,
        nargs=2,
        required=True,
        metavar=("FIRST", "SECOND"),
        help="folders of cellranger-arc or of the open engine, of one sample",
    )
    one.add_argument("--peaks", type=Path, help="BED; default: peaks of a folder, else windows")
    one.add_argument("--output", type=OutputFile, required=True, help="TSV to write")
    one.add_argument("--report", type=OutputFile, help="Markdown to write")


def compare_outs(args: Arguments) -> None:
    """Compare two alignments of one sample: cells, depths, genes and peaks."""
    from epifoundation.evaluation.concordance import compare_outs
    from epifoundation.files import whole

    first, second = args.outs
    table, report = compare_outs(first, second, peaks=args.peaks, threads=args.threads)
    with whole(args.output) as partial:
        table.to_csv(partial, sep="\t", index=False)
    if args.report:
        with whole(args.report) as partial:
            partial.write_text(report)
