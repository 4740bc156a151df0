"""Two `outs/` folders of one sample compared: how far two engines, or two settings, agree."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, stats

from epifoundation.data.fragment_reader import read_fragments
from epifoundation.data.fragments import count_fragments_in_peaks
from epifoundation.data.imports import PEAK_FEATURES, peaks_of_file, read_rna
from epifoundation.data.peak_files import read_peaks
from epifoundation.data.tenx import read_tenx_h5
from epifoundation.errors import DataError

logger = logging.getLogger(__name__)

NEEDED = ("filtered_feature_bc_matrix.h5", "atac_fragments.tsv.gz", "per_barcode_metrics.csv")
WINDOW_BP = 5_000  # where neither folder has peaks and none are given
LOW_PERCENTILE = 5
N_WORST = 10
FEWEST_SHARED = 0.1  # of the cells of either folder, of one sample
COLUMNS = ("measure", "first", "second", "agreement", "meaning")


@dataclass(frozen=True)
class Outs:
    """What is compared of a folder: RNA counts of its cells, its metrics, its fragments."""

    folder: Path
    rna: ad.AnnData  # cells × genes, index gene_id
    metrics: pd.DataFrame  # index: barcode
    fragments: Path
    peaks: pd.DataFrame | None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a folder that Cell Ranger ARC or the open engine wrote."""
        missing = [name for name in NEEDED if not (folder / name).is_file()]
        if missing:
            message = (
                f"{folder} lacks {', '.join(missing)}. Give the `outs` folder of cellranger-arc or"
                " of the open engine."
            )
            raise DataError(message)
        path = folder / NEEDED[0]
        rna = read_rna(path, None)
        if (rna.var["gene_id"] != "").all() and rna.var["gene_id"].is_unique:
            rna.var_names = pd.Index(rna.var["gene_id"].to_numpy(dtype=object))
        metrics = pd.read_csv(folder / NEEDED[2]).set_index("barcode")
        var = read_tenx_h5(path).var
        called = var["feature_types"].isin(PEAK_FEATURES).to_numpy()
        peaks = peaks_of_file(var[called], path) if called.any() else None
        return cls(folder, rna, metrics, folder / NEEDED[1], peaks)


def compare_outs(
    first: Path | str, second: Path | str, *, peaks: Path | str | None = None, threads: int = 1
) -> tuple[pd.DataFrame, str]:
    """Return a table of agreement, and a short report in Markdown.

    Cells are compared by barcode; depths, genes and peaks over the cells that both call. Fragments
    of both are counted in the same regions: those of the BED `peaks`, else the peaks of whichever
    folder has some (Cell Ranger's), else windows of 5 kb. Columns: measure; its value in either
    folder, where it has one; agreement, by which measure is said in `meaning`.
    """
    one, other = Outs.read(Path(first)), Outs.read(Path(second))
    cells = one.rna.obs_names.intersection(other.rna.obs_names)
    if cells.empty:
        message = (
            f"{first} and {second} have no cell in common ({one.rna.obs_names[0]},"
            f" {other.rna.obs_names[0]}, ...): they are of different samples, or one has other"
            " barcodes than GEX ones ending in -1."
        )
        raise DataError(message)
    doubt = _doubt(one, other, cells)
    if doubt:
        logger.warning("%s", doubt)
    rows = [_cell_row(one, other, cells), *_depth_rows(one, other, cells)]
    genes = one.rna.var_names.intersection(other.rna.var_names)
    if genes.empty:
        message = (
            f"{first} and {second} have no gene in common ({one.rna.var_names[0]},"
            f" {other.rna.var_names[0]}, ...). Align both to one annotation."
        )
        raise DataError(message)
    counts = [sparse.csr_matrix(part.rna[cells, genes].X) for part in (one, other)]
    sizes = (one.rna.n_vars, other.rna.n_vars)
    gene_rows, by_gene = _feature_rows("gene", counts[0], counts[1], genes, sizes)
    regions, what = _regions(one, other, peaks)
    in_peaks = [
        count_fragments_in_peaks(
            part.fragments, regions, cells.tolist(), keep_absent=True, threads=threads
        )
        for part in (one, other)
    ]
    peak_rows, by_peak = _feature_rows(
        "peak", in_peaks[0].X, in_peaks[1].X, in_peaks[0].var_names, (len(regions),) * 2
    )
    table = pd.DataFrame([*rows, *gene_rows, *peak_rows], columns=list(COLUMNS))
    what = ". ".join(filter(None, (what, doubt)))
    report = _report(first, second, table, what, {"genes": by_gene, "peaks": by_peak})
    logger.info("%d cells in both, %d genes, %d peaks", len(cells), len(genes), len(regions))
    return table, report


def _doubt(one: Outs, other: Outs, cells: pd.Index) -> str:
    """Return a question where so few cells are in both folders that they may be of two samples."""
    fewer = min(one.rna.n_obs, other.rna.n_obs)
    if len(cells) >= FEWEST_SHARED * fewer:
        return ""
    return (
        f"Only {len(cells):,} of {fewer:,} cells are in both folders: are they of one sample? What"
        " is said of so few means little"
    )


def _cell_row(one: Outs, other: Outs, cells: pd.Index) -> tuple[object, ...]:
    union = one.rna.n_obs + other.rna.n_obs - len(cells)
    meaning = f"{len(cells):,} in both; agreement: share of those in either"
    return ("cells", one.rna.n_obs, other.rna.n_obs, len(cells) / union, meaning)


def _depth_rows(one: Outs, other: Outs, cells: pd.Index) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for name, what in (
        ("gex_umis_count", "UMIs"),
        ("gex_genes_count", "genes"),
        ("atac_fragments", "fragments"),
    ):
        x, y = (part.metrics.loc[cells, name].to_numpy(float) for part in (one, other))
        pearson = _correlation(np.log1p(x), np.log1p(y))
        meaning = f"median of a cell; agreement: Pearson correlation of log(1 + {what})"
        rows.append((f"{what}_per_cell", np.median(x), np.median(y), pearson, meaning))
        rank = _correlation(stats.rankdata(x), stats.rankdata(y))
        rows.append((f"{what}_per_cell_rank", np.nan, np.nan, rank, "Spearman correlation"))
    return rows


def _feature_rows(
    name: str,
    x: sparse.csr_matrix,
    y: sparse.csr_matrix,
    features: pd.Index,
    sizes: tuple[int, int],
) -> tuple[list[tuple[object, ...]], pd.DataFrame]:
    """Return rows of the table, and each feature's totals and correlation over the cells."""
    totals = [np.asarray(part.sum(axis=0), float).ravel() for part in (x, y)]
    by_feature = pd.DataFrame(
        {"first": totals[0], "second": totals[1], "correlation": column_correlations(x, y)},
        index=features,
    )
    known = by_feature["correlation"].dropna()
    either = ((x != 0) + (y != 0)).nnz
    equal = either - (x != y).nnz
    log_totals = _correlation(np.log1p(totals[0]), np.log1p(totals[1]))
    over = f"over {len(known):,} {name}s with counts that vary in both"
    rows: list[tuple[object, ...]] = [
        (f"{name}s", *sizes, len(features), f"agreement: number of {name}s in both"),
        (f"{name}_totals", *(t.sum() for t in totals), log_totals, "Pearson of log(1 + total)"),
        (f"{name}_counts_equal", x.nnz, y.nnz, equal / max(either, 1), "of counts above 0 in any"),
    ]
    for label, value in (
        ("median", known.median()),
        (f"percentile_{LOW_PERCENTILE}", known.quantile(LOW_PERCENTILE / 100)),
    ):
        rows.append((f"{name}_correlation_{label}", np.nan, np.nan, value, f"Pearson, {over}"))
    return rows, by_feature


def column_correlations(x: sparse.csr_matrix, y: sparse.csr_matrix) -> NDArray[np.float64]:
    """Return Pearson's correlation of each column of two matrices of one shape, NaN if constant."""
    n = x.shape[0]
    x, y = x.astype(np.float64), y.astype(np.float64)
    means = [np.asarray(part.mean(axis=0)).ravel() for part in (x, y)]
    squares = [np.asarray(part.multiply(part).sum(axis=0)).ravel() / n for part in (x, y)]
    variances = [np.maximum(s - m**2, 0) for s, m in zip(squares, means, strict=True)]
    product = np.asarray(x.multiply(y).sum(axis=0)).ravel() / n - means[0] * means[1]
    scale = np.sqrt(variances[0] * variances[1])
    varies = scale > 1e-12
    found = np.full(x.shape[1], np.nan)
    found[varies] = np.clip(product[varies] / scale[varies], -1, 1)
    return found


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _regions(one: Outs, other: Outs, peaks: Path | str | None) -> tuple[pd.DataFrame, str]:
    """Return the regions in which fragments of both are counted, and what they are."""
    if peaks is not None:
        return read_peaks(peaks), f"peaks of {peaks}"
    for part in (one, other):
        if part.peaks is not None:
            return part.peaks.reset_index(drop=True), f"peaks of {part.folder}"
    ends: dict[str, int] = {}
    for part in (one, other):
        for chrom, end in _ends(part.fragments).items():
            ends[chrom] = max(end, ends.get(chrom, 0))
    starts = [(chrom, start) for chrom, end in ends.items() for start in range(0, end, WINDOW_BP)]
    windows = pd.DataFrame(starts, columns=["chrom", "start"])
    return windows.assign(end=windows["start"] + WINDOW_BP), f"windows of {WINDOW_BP:,} bp"


def _ends(path: Path) -> dict[str, int]:
    """Return how far the fragments reach on each chromosome."""
    ends: dict[str, int] = {}
    for chunk in read_fragments(path):
        for code in np.unique(chunk.chromosome):
            name = chunk.chromosomes[code]
            ends[name] = max(int(chunk.end[chunk.chromosome == code].max()), ends.get(name, 0))
    return ends


def _report(
    first: Path | str,
    second: Path | str,
    table: pd.DataFrame,
    regions: str,
    worst: dict[str, pd.DataFrame],
) -> str:
    lines = ["# Agreement of two alignments", "", f"First: `{first}`. Second: `{second}`."]
    lines += [f"Fragments counted in {regions}.", "", "| " + " | ".join(COLUMNS) + " |"]
    lines += ["|---|---:|---:|---:|---|"]
    for row in table.to_dict("records"):
        values = [_number(row[name]) for name in ("first", "second", "agreement")]
        lines.append(f"| {row['measure']} | {' | '.join(values)} | {row['meaning']} |")
    for name, features in worst.items():
        apart = (np.log1p(features["first"]) - np.log1p(features["second"])).abs()
        most = features[apart > 0].loc[apart[apart > 0].nlargest(N_WORST).index]
        lines += ["", f"## {name.capitalize()} whose totals differ most", ""]
        if most.empty:
            lines.append("None differs.")
            continue
        lines += [f"| {name} | first | second | correlation |", "|---|---:|---:|---:|"]
        for feature, found in zip(most.index, most.to_numpy(float), strict=True):
            lines.append(f"| {feature} | {' | '.join(map(_number, found))} |")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    if pd.isna(value):
        return ""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"
