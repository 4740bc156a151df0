"""What each table of the paper shows: its methods, columns, blocks and printed numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

from epifoundation.reporting import printed

Printed = Mapping[str, Mapping[str, tuple[float, ...]]]

METHOD_NAMES = {
    "pca": "PCA",
    "harmony": "Harmony",
    "liger": "LIGER",
    "scanvi": "scANVI",
    "random": "Random embedding",
    "majority": "Majority class",
    "depth_only": "Depth only",
    "lsi_logistic": "LSI + logistic regression",
    "lsi_neighbours": "LSI + nearest neighbours",
    "binary_logistic": "Peaks + logistic regression",
    "binary_naive_bayes": "Peaks + naive Bayes",
    "gene_activity": "Gene activity, binned",
    "gene_activity_log": "Gene activity, log",
    "gene_mean": "Gene mean",
    "lsi_ridge": "LSI + ridge",
    "binary_ridge": "Peaks + ridge",
    "epifoundation": "EpiFoundation",
    "epifoundation_no_batch": "EpiFoundation without batch",
    "epifoundation_no_chromosome": "EpiFoundation without chromosome",
}
METRIC_NAMES = {
    "iso": "ISO",
    "nmi": "NMI",
    "casw": "cASW",
    "clisi": "cLISI",
    "basw": "bASW",
    "gc": "GC",
    "nmi_resolution_1": "NMI at 1",
    "basw_text": "bASW, text",
    "gc_text": "GC, text",
    "bras": "BRAS",
    "ilisi": "iLISI",
    "accuracy": "ACC",
    "macro_f1": "Macro F1",
    "micro_f1": "Micro F1",
    "roc_auc": "ROC-AUC",
    "mse": "MSE",
    "spearman": "SRCC",
    "pearson": "PRCC",
}
SMALLER_IS_BETTER = ("mse",)
UNRANKED = ("gene_activity_log", "random")  # another scale; no method at all
NOT_PRINTED = "not printed"  # the verdict where the paper has no number
LABEL_FREE, LABEL_INFORMED = "label-free", "label-informed"


@dataclass(frozen=True)
class Layout:
    """One table of results."""

    number: int
    title: str
    task: str
    metrics: tuple[str, ...]
    printed: Printed  # by data set and method, numbers of the first metrics
    remarks: tuple[str, ...] = ()
    has_blocks: bool = False

    def printed_number(self, dataset: str, method: str, metric: str) -> float | None:
        """Return what the paper prints, if it does."""
        row = self.printed.get(dataset, {}).get(method)
        place = self.metrics.index(metric)
        return None if row is None or place >= len(row) else row[place]


COMMON = (
    "Each number is followed by the paper's and by the difference, where the paper prints one.",
    "Best in bold, within a block where there are blocks; an empty cell says why below.",
    "Reproduced: within .02 of the printed number (MSE: 2 %), where data, split and labels are the"
    " paper's; otherwise not comparable.",
)
LAYOUTS = {
    1: Layout(
        1,
        "Batch correction",
        "integration",
        (*printed.INTEGRATION_COLUMNS, "nmi_resolution_1", "basw_text", "gc_text", "bras", "ilisi"),
        printed.TABLE_1,
        (
            *COMMON,
            "NMI is the best over ten resolutions, chosen by the labels (supervised), for every"
            " method; `NMI at 1` is at resolution 1.",
            "bASW and GC are scib's; `text` marks the formulas of the paper's appendix B.3.1."
            " BRAS compares a cell with all other batches, bASW with the nearest.",
            "Label-informed methods have seen cell types: EpiFoundation those of training cells,"
            " scANVI under protocol `paper` those of test cells too (scib gives it all labels).",
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
            *COMMON,
            "Target: ten levels within the cell, protein-coding genes of the test cells."
            " Correlations by gene, averaged over genes that vary; a constant prediction counts 0.",
            "The printed gene activity stands beside the binned one. `Gene activity, log` is on"
            " another scale than the levels and is not ranked.",
        ),
    ),
    4: Layout(
        4,
        "Ablation of batch and chromosome labels",
        "ablation",
        printed.ABLATION_COLUMNS,
        printed.TABLE_4,
        (*COMMON, "Printed as ASWb in the paper: bASW."),
    ),
}
