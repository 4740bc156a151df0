"""How methods, metrics and protocols are called in tables and figures, and which way is up."""

METHOD_NAMES = {
    "pca": "PCA",
    "lsi": "LSI",
    "harmony": "Harmony",
    "liger": "LIGER",
    "peakvi": "PeakVI",
    "scanvi": "scANVI",
    "majority": "Majority class",
    "depth_only": "Depth only",
    "lsi_logistic": "LSI + logistic regression",
    "lsi_neighbours": "LSI + nearest neighbours",
    "binary_logistic": "Peaks + logistic regression",
    "binary_naive_bayes": "Peaks + naive Bayes",
    "gene_activity": "Gene activity, binned",
    "gene_activity_log": "Gene activity, log",
    "gene_activity_affine": "Gene activity, affine fit",
    "gene_mean": "Gene mean",
    "lsi_ridge": "LSI + ridge",
    "binary_ridge": "Peaks + ridge",
    "multivi": "MultiVI",
    "epifoundation_pretrained": "EpiFoundation, pretrained only",
    "epifoundation": "EpiFoundation",
    "epifoundation_pretrained_no_batch": "EpiFoundation, pretrained only, without batch",
    "epifoundation_no_batch": "EpiFoundation without batch",
    "epifoundation_no_chromosome": "EpiFoundation without chromosome",
    "epifoundation_no_pretrain": "EpiFoundation without pretraining",
    "epifoundation_no_tissue": "EpiFoundation without this tissue",
    "random": "Random embedding",
}
METRIC_NAMES = {
    "iso": "ISO",
    "nmi": "NMI",
    "ari": "ARI",
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
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "mse": "MSE",
    "mse_balanced": "MSE, balanced",
    "spearman": "SRCC",
    "pearson": "PRCC",
    "agreement": "Same type",
    "tissue_accuracy": "Tissue predicted",
    "depth_r2": "R² on log depth",
}
SUFFIXES = {  # of metrics that vary another one
    "_within_type": ", within type",
    "_given_depth": ", given depth",
    "_log": ", log target",
}
PROTOCOLS = {
    "paper": "random cells, as in the paper",
    "sample_held_out": "whole samples held out",
    "donor_held_out": "whole donors held out",
    "label_free": "pretrained only, no label seen",
}
GROUPS = {  # of test cells, other than types
    "depth_low": "third with the fewest open peaks",
    "depth_mid": "middle third by open peaks",
    "depth_high": "third with the most open peaks",
}
FEW_SHOT = "few_shot_"
SMALLER = ("mse", "depth_r2")
NEITHER = ("tissue_accuracy",)  # said, not ranked: in the atlas a batch is a tissue
BETWEEN = ":"  # in `f1:<type>`: a metric of a group of cells


def method_name(method: str) -> str:
    """Return how a method is called; its key with spaces where it has no name here."""
    return METHOD_NAMES.get(method, method.replace("_", " "))


def metric_name(metric: str) -> str:
    """Return how a metric is called, `f1:<type>` as the F1 of the type."""
    base, _, group = metric.partition(BETWEEN)
    name = METRIC_NAMES.get(base)
    for suffix, words in SUFFIXES.items():
        if name is None and base.endswith(suffix):
            name = metric_name(base.removesuffix(suffix)) + words
    name = name or base.replace("_", " ")
    return f"{name} of {group_name(group)}" if group else name


def group_name(group: str) -> str:
    """Return how a group of test cells is called: a cell type by its own name."""
    return GROUPS.get(group, group)


def protocol_name(protocol: str) -> str:
    """Return the protocol and, where known, what it means."""
    meaning = PROTOCOLS.get(protocol)
    if protocol.startswith(FEW_SHOT):
        meaning = f"{protocol.removeprefix(FEW_SHOT)} labelled cells of each type"
    return f"{protocol} ({meaning})" if meaning else protocol


def direction(metric: str) -> int:
    """Return 1 where larger is better, -1 where smaller is, 0 where neither is known to be."""
    base = metric.partition(BETWEEN)[0]
    if base in NEITHER:
        return 0
    if any(base == name or base.startswith(f"{name}_") for name in SMALLER):
        return -1
    known = base in METRIC_NAMES or any(base.endswith(suffix) for suffix in SUFFIXES)
    return 1 if known else 0


def arrow(metric: str) -> str:
    """Return the sign of the direction with a space before it, or nothing."""
    return {1: " ↑", -1: " ↓", 0: ""}[direction(metric)]
