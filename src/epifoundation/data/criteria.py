"""Which barcodes are cells: the six criteria, and what other definitions would change."""

import logging
import operator
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from epifoundation.config import QcConfig
from epifoundation.contracts import QC_ALTERNATIVES
from epifoundation.data.qc import NUCLEOSOME_COLUMNS, TSS_COLUMNS
from epifoundation.errors import DataError

logger = logging.getLogger(__name__)

ATAC_COLUMNS = {"in_peaks": "n_atac_in_peaks", "fragments": "n_fragments"}
# Settings with a second definition of the same metric, and the criteria that rest on it.
CHOICES = {
    "atac_reads": (ATAC_COLUMNS, ("min_atac_reads", "max_atac_reads")),
    "nucleosome_lines": (NUCLEOSOME_COLUMNS, ("max_nucleosome_signal",)),
    "tss_enrichment": (TSS_COLUMNS, ("min_tss_enrichment",)),
}
COUNTS = tuple(name for name in QC_ALTERNATIVES.dtypes if name.startswith("n_"))


@dataclass(frozen=True)
class Criterion:
    """One of the six; `limit` None: it does not apply. `note` says why, or what it rests on."""

    name: str
    column: str
    keeps: Callable[[pd.Series, float], pd.Series]
    limit: float | None
    note: str = ""

    def passing(self, metrics: pd.DataFrame) -> pd.Series:
        """Return whether each barcode passes; NaN and the limit itself do not."""
        if self.limit is None:
            return pd.Series(data=True, index=metrics.index)
        return self.keeps(metrics[self.column], self.limit)


def filter_cells(
    metrics: pd.DataFrame, qc: QcConfig | None, *, sample: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what `judge_barcodes` does; DataError if no barcode passes."""
    cells, funnel = judge_barcodes(metrics, qc, sample=sample)
    if cells.empty:
        raise DataError(no_cell_left(metrics, qc, sample))
    return cells, funnel


def judge_barcodes(
    metrics: pd.DataFrame, qc: QcConfig | None, *, sample: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of `metrics` that pass every criterion, and contracts.QC_FUNNEL.

    Limits themselves fail, as does NaN. A criterion without a limit, or whose metric `metrics`
    lacks (entry `matrices`), does not apply, and its `note` says so; without n_fragments ATAC reads
    are those in peaks. `n_removed` of a criterion counts the barcodes it fails by itself; `qc` None
    keeps all.
    """
    passed = pd.Series(data=True, index=metrics.index)
    criteria = criteria_of(metrics, qc)
    funnel = [("start", len(metrics), 0, "")]
    for criterion in criteria:
        passing = criterion.passing(metrics)
        passed &= passing
        n_passing = int(passing.sum())
        funnel.append((criterion.name, n_passing, len(metrics) - n_passing, criterion.note))
        what = (criterion.name, n_passing, len(metrics))
        logger.info("%s: %s keeps %d of %d barcodes", sample, *what)
        if criterion.note:
            logger.warning("%s: %s %s", sample, criterion.name, criterion.note)
    n_kept = int(passed.sum())
    funnel.append(("kept", n_kept, len(metrics) - n_kept, ""))
    logger.info("%s: kept %d of %d barcodes (%s)", sample, n_kept, len(metrics), qc)
    table = pd.DataFrame(funnel, columns=["criterion", "n_barcodes", "n_removed", "note"])
    return metrics[passed].reset_index(drop=True), table


def criteria_of(metrics: pd.DataFrame, qc: QcConfig | None) -> list[Criterion]:
    """Return the six criteria as they apply to `metrics`; none if `qc` is None."""
    if qc is None:
        return []
    atac = ATAC_COLUMNS[qc.atac_reads]
    nucleosome = NUCLEOSOME_COLUMNS[qc.nucleosome_lines]
    tss = TSS_COLUMNS[qc.tss_enrichment]
    six = [
        ("min_rna_umis", "n_rna_umis", operator.gt),
        ("max_rna_umis", "n_rna_umis", operator.lt),
        ("min_atac_reads", atac, operator.gt),
        ("max_atac_reads", atac, operator.lt),
        ("max_nucleosome_signal", nucleosome, operator.lt),
        ("min_tss_enrichment", tss, operator.gt),
    ]
    return [_criterion(metrics, qc, *one) for one in six]


def _criterion(
    metrics: pd.DataFrame,
    qc: QcConfig,
    name: str,
    column: str,
    keeps: Callable[[pd.Series, float], pd.Series],
) -> Criterion:
    limit = getattr(qc, name)
    if limit is None:
        return Criterion(name, column, keeps, None, "not applied: no limit is set")
    if column in metrics:
        return Criterion(name, column, keeps, limit)
    unknown = f"the input does not tell {column}"
    in_peaks = ATAC_COLUMNS["in_peaks"]
    if column == ATAC_COLUMNS["fragments"] and in_peaks in metrics:
        return Criterion(name, in_peaks, keeps, limit, f"applied to {in_peaks}: {unknown}")
    return Criterion(name, column, keeps, None, f"not applied: {unknown}")


def qc_alternatives(metrics: pd.DataFrame, qc: QcConfig | None) -> pd.DataFrame:
    """Return contracts.QC_ALTERNATIVES: on how many barcodes two definitions of a metric differ.

    A row for each of CHOICES: cells under all criteria with the definition used and with the other,
    those that only one of them keeps, and barcodes that pass the choice's own criteria under one
    only. Counts are missing where `note` says why.
    """
    rows = []
    for setting, (columns, names) in CHOICES.items():
        row: dict[str, object] = {"setting": setting, "used": "", "alternative": "", "note": ""}
        rows.append(row)
        if qc is None:
            row["note"] = "no criterion is applied"
            continue
        used = getattr(qc, setting)
        other = next(name for name in columns if name != used)
        row.update(used=used, alternative=other)
        changed = qc.model_copy(update={setting: other})
        reasons = [
            criterion.note
            for each in (qc, changed)
            for criterion in criteria_of(metrics, each)
            if criterion.name in names and criterion.note
        ]
        if reasons:
            row["note"] = f"not compared: {reasons[0].partition(': ')[2]}"
            continue
        cells, cells_other = (_passing(metrics, each) for each in (qc, changed))
        alone, alone_other = (_passing(metrics, each, names) for each in (qc, changed))
        row.update(
            n_cells_used=int(cells.sum()),
            n_cells_alternative=int(cells_other.sum()),
            n_cells_used_only=int((cells & ~cells_other).sum()),
            n_cells_alternative_only=int((cells_other & ~cells).sum()),
            n_barcodes_used_only=int((alone & ~alone_other).sum()),
            n_barcodes_alternative_only=int((alone_other & ~alone).sum()),
        )
    table = pd.DataFrame(rows).reindex(columns=list(QC_ALTERNATIVES.dtypes))
    return table.astype(dict.fromkeys(COUNTS, "Int64"))


def _passing(
    metrics: pd.DataFrame, qc: QcConfig, names: tuple[str, ...] | None = None
) -> pd.Series:
    passed = pd.Series(data=True, index=metrics.index)
    for criterion in criteria_of(metrics, qc):
        if names is None or criterion.name in names:
            passed &= criterion.passing(metrics)
    return passed


def no_cell_left(metrics: pd.DataFrame, qc: QcConfig | None, sample: str) -> str:
    """Return what is said where no barcode passes: which criterion removes most, and medians."""
    applied = [c for c in criteria_of(metrics, qc) if c.limit is not None]
    if not len(metrics) or not applied:
        return f"sample {sample}: there is no barcode to begin with. Check its RNA counts."
    removed = [int((~criterion.passing(metrics)).sum()) for criterion in applied]
    worst = applied[removed.index(max(removed))]
    columns = dict.fromkeys(criterion.column for criterion in applied)
    medians = ", ".join(f"{name} {_median(metrics[name]):.4g}" for name in columns)
    unknown = [name for name in columns if metrics[name].isna().all()]
    advice = "Check the sample, or relax qc."
    if unknown:
        advice = f"{', '.join(unknown)} is unknown for every barcode: {_why_unknown(unknown[0])}"
    return (
        f"sample {sample}: no cell is left of {len(metrics):,} barcodes. {worst.name} removes most"
        f" ({max(removed):,}; limit {worst.limit:g}, median {worst.column}"
        f" {_median(metrics[worst.column]):.4g}). Medians: {medians}. {advice}"
    )


def _why_unknown(column: str) -> str:
    if column in TSS_COLUMNS.values():
        return (
            "no fragment ends beside a TSS, or reference.annotation is null. Check the annotation,"
            " or set qc.min_tss_enrichment to null."
        )
    return "check the fragments."


def _median(values: pd.Series) -> float:
    return float(values.dropna().median()) if values.notna().any() else float("nan")
