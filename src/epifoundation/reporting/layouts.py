"""What each table of the paper shows: its columns, blocks, printed numbers and remarks."""

from collections.abc import Mapping
from dataclasses import dataclass

from epifoundation.reporting import printed
from epifoundation.reporting.names import BETWEEN

Printed = Mapping[str, Mapping[str, tuple[float, ...]]]

UNRANKED = ("gene_activity_log", "random")  # another scale; no method at all
IN_ALL_BLOCKS = ("random",)
PAPER_PROTOCOL = "paper"
PAPER_LABELS = ("disco_wnn", "given")  # made as the paper says, or published with its data
NOT_PRINTED = "not printed"  # the verdict where the paper has no number
LABEL_FREE, LABEL_INFORMED = "label-free", "label-informed"


@dataclass(frozen=True)
class Layout:
    """One table of results."""

    number: int
    title: str
    task: str
    metrics: tuple[str, ...]
    printed: Printed  # by data set and method, numbers of the metrics
    remarks: tuple[str, ...] = ()
    has_blocks: bool = False
    full: str | None = None  # the method from which ablations take something

    def part_of(self, metric: str) -> str:
        """Return the part that shows a metric: the paper's columns, of groups, or others."""
        return "" if metric in self.metrics else "c" if BETWEEN in metric else "b"

    def printed_number(self, dataset: str, method: str, metric: str) -> float | None:
        """Return what the paper prints, if it does."""
        row = self.printed.get(dataset, {}).get(method)
        if row is None or metric not in self.metrics:
            return None
        place = self.metrics.index(metric)
        return None if place >= len(row) else row[place]


INTERVAL = (
    "its 95 % interval over test cells (the mean of the bounds where there are several seeds), then"
)
PAPERS = "the paper's number and the difference. ± is the standard deviation over seeds."
NOT_RESAMPLED = "Embeddings are not resampled: a cell drawn twice would be its own neighbour."
COMMON = (
    "Best in bold, within a block where there are blocks; an empty cell says why below.",
    "Reproduced: within .02 of the printed number (MSE: 2 %), where data, split and labels are the"
    " paper's; comparable: those are the paper's, the number is not; not comparable: they are not.",
)
LAYOUTS = {
    1: Layout(
        1,
        "Batch correction",
        "integration",
        printed.INTEGRATION_COLUMNS,
        printed.TABLE_1,
        (
            f"Under each number: {PAPERS} {NOT_RESAMPLED}",
            *COMMON,
            "NMI is the best over ten resolutions, chosen by the labels (supervised), for every"
            " method; NMI at 1 is at resolution 1.",
            "bASW and GC are scib's; text marks the formulas of the paper's appendix B.3.1."
            " BRAS compares a cell with all other batches, bASW with the nearest.",
            "Label-informed methods have seen cell types: EpiFoundation those of training cells,"
            " scANVI under protocol paper those of test cells too (scib gives it all labels).",
            "A random embedding, at the end of each block, is what no information scores.",
        ),
        has_blocks=True,
    ),
    2: Layout(
        2,
        "Cell type annotation",
        "annotation",
        printed.ANNOTATION_COLUMNS,
        printed.TABLE_2,
        (
            f"Under each number: {INTERVAL} {PAPERS}",
            *COMMON,
            "F1 over types that occur or are predicted; ROC-AUC one type against the rest, over"
            " types that occur among the test cells.",
        ),
    ),
    3: Layout(
        3,
        "Gene expression prediction",
        "expression",
        printed.EXPRESSION_COLUMNS,
        printed.TABLE_3,
        (
            f"Under each number: {INTERVAL} {PAPERS}",
            *COMMON,
            "Target: ten levels within the cell, protein-coding genes of the test cells."
            " Correlations by gene, averaged over genes that vary; a constant prediction counts 0.",
            "The printed gene activity stands beside the binned one. Gene activity, log, is on"
            " another scale than the levels and is not ranked.",
        ),
    ),
    4: Layout(
        4,
        "Ablation of batch and chromosome labels",
        "ablation",
        printed.ABLATION_COLUMNS,
        printed.TABLE_4,
        (
            f"Under each number: where it scores predictions, {INTERVAL} {PAPERS} {NOT_RESAMPLED}",
            *COMMON,
            "Printed as ASWb in the paper: bASW.",
            "In the atlas a batch is a tissue: a model without batch labels has to tell tissues"
            " apart by itself, and what it loses is in part the tissue. Tissue predicted says how"
            " well the tissue is predicted from the embedding.",
        ),
        full="epifoundation",
    ),
}
