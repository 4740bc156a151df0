"""The peak set of an atlas: pooled MACS2 calls, a given BED, or the peaks of paired matrices."""

import logging
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import mudata as md
import numpy as np
import pandas as pd
import pyranges

from epifoundation.config import PeakConfig
from epifoundation.contracts import Table
from epifoundation.data.pool import pool_distinct_starts
from epifoundation.data.regions import read_bed, region_names
from epifoundation.errors import DataError, ToolError
from epifoundation.files import whole

logger = logging.getLogger(__name__)

MACS2_VERSIONS = ("2.2.7.1", "2.2.9.1")  # the paper's; and one that calls the same peaks
PEAK_SUMMARY = Table(
    made_by="rule call_peaks, take_peaks or share_peaks",
    key=(),
    dtypes={
        "n_fragments": "int64",  # of all barcodes and files; 0 where none was read
        "n_called": "int64",
        "n_nonstandard_removed": "int64",
        "n_blacklist_removed": "int64",
        "n_kept": "int64",
        "total_bp": "int64",
    },
)
BED_COLUMNS = ["chrom", "start", "end", "name", "score"]


def call_peaks(
    fragments: Sequence[Path | str],
    settings: PeakConfig,
    *,
    standard_chromosomes: Sequence[str],
    blacklist: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the peaks of the pooled fragments, and PEAK_SUMMARY: what was removed.

    MACS2 with the arguments of Signac's CallPeaks, on all barcodes of all files. Peaks off the
    standard chromosomes and peaks that touch `blacklist` (0-based, half-open) are removed; the rest
    is in order of `standard_chromosomes` and start: chrom, start, end (0-based, half-open), name
    (`chrom:start-end`), score.
    """
    called, n_fragments = _macs2(fragments, settings)
    standard = called[called["chrom"].isin(standard_chromosomes)]
    kept = without_overlaps(standard, blacklist)
    peaks = in_chromosome_order(kept, standard_chromosomes)
    peaks["name"] = region_names(peaks).to_numpy()
    summary = summarise(
        peaks,
        n_fragments=n_fragments,
        n_called=len(called),
        n_nonstandard_removed=len(called) - len(standard),
        n_blacklist_removed=len(standard) - len(kept),
    )
    if peaks.empty:
        message = (
            f"no peak is left of {len(called)} called on {n_fragments:,} fragments"
            f" ({len(called) - len(standard)} off the standard chromosomes,"
            f" {len(standard) - len(kept)} blacklisted). Check reference.standard_chromosomes, the"
            " blacklist and peaks.genome_size."
        )
        raise DataError(message)
    return peaks, summary


def frozen_peaks(
    path: Path | str, *, standard_chromosomes: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a given peak set as it is, in its own order, and its summary.

    Refuses peaks off the standard chromosomes, and peaks listed twice.
    """
    peaks = read_bed(path)
    strange = ~peaks["chrom"].isin(standard_chromosomes)
    if strange.any():
        message = (
            f"{path}: {strange.sum():,} of {len(peaks):,} peaks are on unknown chromosomes (first:"
            f" {region_names(peaks)[strange][0]}). List them in reference.standard_chromosomes, or"
            " remove them."
        )
        raise DataError(message)
    return _as_given(peaks, path)


def peaks_of_matrices(
    multiomes: Sequence[md.MuData], names: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the peaks that paired matrices share, in the order of the first, and a summary.

    `names` are the samples'. Matrices with different peaks are refused: counts cannot be moved from
    one peak set to another.
    """
    first = multiomes[0]["atac"].var
    for name, multiome in zip(names, multiomes, strict=True):
        labels = multiome["atac"].var_names
        apart = labels.symmetric_difference(first.index)
        if len(apart):
            message = (
                f"samples {names[0]} and {name} have different peaks: {len(apart):,} are in one of"
                f" them only (first: {apart[0]}). Count both on one peak set, or use two atlases."
            )
            raise DataError(message)
    peaks = first[["chrom", "start", "end"]].reset_index(drop=True)
    peaks = peaks.astype({"chrom": object}).assign(name=first.index.to_numpy())
    return _as_given(peaks, names[0])


def _as_given(peaks: pd.DataFrame, where: Path | str) -> tuple[pd.DataFrame, pd.DataFrame]:
    labels = region_names(peaks)
    repeated = labels[labels.duplicated()]
    if peaks.empty or len(repeated):
        what = (
            f"{len(repeated):,} of {len(peaks):,} peaks are listed twice (first: {repeated[0]})"
            if len(repeated)
            else "there is no peak"
        )
        message = f"{where}: {what}"
        raise DataError(message)
    given = peaks.assign(name=peaks["name"].where(peaks["name"] != "", labels), score=0)
    summary = summarise(
        given,
        n_fragments=0,
        n_called=len(given),
        n_nonstandard_removed=0,
        n_blacklist_removed=0,
    )
    return given, summary


def summarise(peaks: pd.DataFrame, **counts: int) -> pd.DataFrame:
    """Return one row: `counts`, then n_kept and total_bp."""
    total = int((peaks["end"] - peaks["start"]).sum())
    row = {**counts, "n_kept": len(peaks), "total_bp": total}
    logger.info("%s", ", ".join(f"{name} {value:,}" for name, value in row.items()))
    return pd.DataFrame([row])


def without_overlaps(regions: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Return the regions that share no base with any of `others`, in their order."""
    if regions.empty or others.empty:
        return regions.reset_index(drop=True)
    row = np.arange(len(regions))
    touching = _ranges(regions, row).overlap(_ranges(others, np.arange(len(others)))).df
    hit = touching["row"].to_numpy() if len(touching) else np.empty(0, dtype=int)
    return regions[~np.isin(row, hit)].reset_index(drop=True)


def _ranges(regions: pd.DataFrame, row: np.ndarray) -> pyranges.PyRanges:
    columns = {"Chromosome": "chrom", "Start": "start", "End": "end"}
    table = {new: regions[old].to_numpy() for new, old in columns.items()}
    return pyranges.PyRanges(pd.DataFrame({**table, "row": row}))


def in_chromosome_order(regions: pd.DataFrame, chromosomes: Sequence[str]) -> pd.DataFrame:
    """Return the regions sorted by the order of `chromosomes`, then start and end."""
    rank = regions["chrom"].map({name: i for i, name in enumerate(chromosomes)})
    order = np.lexsort((regions["end"], regions["start"], rank))
    return regions.iloc[order].reset_index(drop=True)


def write_peaks(peaks: pd.DataFrame, path: Path | str) -> None:
    """Write a BED file: chrom, start, end (0-based, half-open), name, score."""
    with whole(path) as partial:
        peaks[BED_COLUMNS].to_csv(partial, sep="\t", header=False, index=False)


def _macs2(fragments: Sequence[Path | str], settings: PeakConfig) -> tuple[pd.DataFrame, int]:
    """Return the narrow peaks of the pool and its number of fragments."""
    program = find_macs2()
    with tempfile.TemporaryDirectory(prefix="macs2-") as folder:
        if settings.keep_duplicates == "1":
            # MACS2 would hold every tag in memory just to drop these duplicates.
            pool = Path(folder, "pool.bed")
            n_fragments = pool_distinct_starts(fragments, pool)
            inputs = [str(pool)]
        else:
            n_fragments, inputs = 0, [str(path) for path in fragments]
        command = [program, "callpeak", "-t", *inputs, *_arguments(settings)]
        command += ["-n", "pool", "--outdir", folder]
        logger.info("%s", " ".join(command))
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        for line in run.stderr.splitlines():
            logger.info("macs2: %s", line)
        if run.returncode:
            last = next((x for x in reversed(run.stderr.splitlines()) if x.strip()), "no output")
            message = f"macs2 callpeak failed (exit code {run.returncode}): {last}"
            raise ToolError(message)
        n_fragments = n_fragments or _total_tags(Path(folder, "pool_peaks.xls"))
        return _read_narrow_peaks(Path(folder, "pool_peaks.narrowPeak")), n_fragments


def _arguments(settings: PeakConfig) -> list[str]:
    """Return what Signac 1.8.0's CallPeaks passes, with the configured numbers."""
    return [
        *("-g", f"{settings.genome_size:g}", "-f", "BED", "--nomodel"),
        *("--extsize", str(settings.extension_bp), "--shift", str(-(settings.extension_bp // 2))),
        *("-q", f"{settings.q_value:g}", "--keep-dup", settings.keep_duplicates),
    ]


def _read_narrow_peaks(path: Path) -> pd.DataFrame:
    columns = BED_COLUMNS
    if not path.stat().st_size:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in columns})
    return pd.read_csv(path, sep="\t", header=None, usecols=range(5), names=columns)


def _total_tags(path: Path) -> int:
    found = re.search(r"total tags in treatment: (\d+)", path.read_text())
    return int(found.group(1)) if found else 0


def find_macs2() -> str:
    """Return the path of a macs2 of a supported version: on PATH, or beside this Python."""
    beside = Path(sys.executable).with_name("macs2")
    candidates = [shutil.which("macs2"), str(beside) if beside.exists() else None]
    found = []
    for program in dict.fromkeys(filter(None, candidates)):
        run = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        version = (run.stdout + run.stderr).strip().split("\n")[-1].removeprefix("macs2 ")
        if version in MACS2_VERSIONS:
            return program
        found.append(f"{program} is version {version[:80] or 'unknown'}")
    what = "; ".join(found) or "it is not installed"
    message = (
        f"macs2 {' or '.join(MACS2_VERSIONS)} is needed: {what}."
        f" Install it with `pip install macs2=={MACS2_VERSIONS[-1]}`."
    )
    raise ToolError(message)
