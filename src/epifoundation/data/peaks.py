"""The peak set of an atlas, called on its fragments by MACS2 or MACS3; and what was removed."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from epifoundation.config import PeakConfig
from epifoundation.contracts import SATURATED
from epifoundation.data.fragment_checks import naming_hint
from epifoundation.data.groups import grouped_fragments
from epifoundation.data.intervals import clipped, in_chromosome_order, merged, without_overlaps
from epifoundation.data.macs import BED_COLUMNS, find_caller, largest_duplicates, narrow_peaks
from epifoundation.data.pool import (
    Pool,
    check_files,
    pool_fragments,
    room_in,
    temporary_folder,
)
from epifoundation.data.regions import region_names
from epifoundation.data.starts import LARGEST_COUNT
from epifoundation.errors import DataError
from epifoundation.files import whole

logger = logging.getLogger(__name__)

Row = dict[str, str | int | float]


@dataclass(frozen=True)
class PeakFilter:
    """Where peaks may be; `blacklist` is chrom, start, end (0-based, half-open)."""

    standard_chromosomes: Sequence[str]
    blacklist: pd.DataFrame
    chrom_sizes: Mapping[str, int] | None

    def apply(self, called: pd.DataFrame, call: str) -> tuple[pd.DataFrame, Row]:
        """Return the peaks that stay, in order, and how many were called, removed and kept."""
        standard = called[called["chrom"].isin(self.standard_chromosomes)]
        if self.chrom_sizes is not None:
            standard = clipped(standard, self.chrom_sizes, f"{call} peaks")
        kept = without_overlaps(standard, self.blacklist)
        counts: Row = {
            "n_called": len(called),
            "n_nonstandard_removed": len(called) - len(standard),
            "n_blacklist_removed": len(standard) - len(kept),
            "n_kept": len(kept),
            "total_bp": int((kept["end"] - kept["start"]).sum()),
        }
        return in_chromosome_order(kept, self.standard_chromosomes), counts

    def occupancy(self, pool: Pool, peaks: pd.DataFrame) -> Row:
        """Return the share of bases at which a fragment starts, inside peaks and outside."""
        names, starts, sizes = self.standard_chromosomes, pool.starts, self.chrom_sizes or {}
        inside, peak_bp = starts.n_positions_in(peaks), int((peaks["end"] - peaks["start"]).sum())
        outside = sum(map(starts.n_positions, names)) - inside
        bases = sum(sizes.get(name, starts.last(name) + 1) for name in names) - peak_bp
        return {
            "occupancy_in_peaks": inside / peak_bp if peak_bp else float("nan"),
            "occupancy_outside": outside / bases if bases > 0 else float("nan"),
        }


def call_peaks(
    fragments: Sequence[Path | str],
    settings: PeakConfig,
    *,
    standard_chromosomes: Sequence[str],
    blacklist: pd.DataFrame,
    chrom_sizes: Mapping[str, int] | None = None,
    names: Sequence[str] | None = None,
    groups: Sequence[Mapping[str, str]] | None = None,
    threads: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the peaks of the fragments, and PEAK_SUMMARY: a row a call, what was removed.

    MACS2 with the arguments of Signac's CallPeaks, on all barcodes of all files; or, as
    `settings.calls` says, on each file (`names` are theirs), or on each group of barcodes (`groups`
    maps the barcodes of each file to their group), and what is called there is merged as Signac's
    `reduce` does. Then peaks off the standard chromosomes and peaks that touch `blacklist`
    (0-based, half-open) go; the rest is cut at the chromosome ends, where `chrom_sizes` are given,
    and ordered by `standard_chromosomes` and start: chrom, start, end (0-based, half-open), name
    (`chrom:start-end`), score (the largest of those merged). `threads` files are read, or calls
    made, at a time; the result does not depend on it.
    """
    program = find_caller(settings.caller)
    limits = PeakFilter(standard_chromosomes, blacklist, chrom_sizes)

    def call(name: str, load: Callable[[], Pool]) -> tuple[pd.DataFrame, Row]:
        pool = load()
        called = _call(program, pool, settings)
        peaks, counts = limits.apply(called, name)
        measured: Row = {"n_fragments": pool.n_fragments, "tag_size_bp": pool.tag_size}
        row: Row = {"call": name, **measured, **counts, **limits.occupancy(pool, peaks)}
        logger.info("%s", ", ".join(f"{key} {value}" for key, value in row.items()))
        return called, row

    with (
        _parts(fragments, settings, limits, names, groups, threads) as parts,
        ThreadPoolExecutor(max(1, threads)) as executor,
    ):
        calls, rows = map(list, zip(*executor.map(call, parts, parts.values()), strict=True))
    if settings.calls == "pooled":
        peaks, _ = limits.apply(calls[0], "pooled")
    else:
        peaks, counts = limits.apply(merged(calls), "merged")
        rows.append(_of_all(rows, counts))
    _warn_where_saturated(rows, settings)
    _warn_where_blacklist_is_elsewhere(blacklist, calls)
    if peaks.empty:
        raise DataError(_nothing_left(rows[-1]))
    return peaks.assign(name=region_names(peaks).to_numpy()), pd.DataFrame(rows)


def write_peaks(peaks: pd.DataFrame, path: Path | str) -> None:
    """Write a BED file: chrom, start, end (0-based, half-open), name, score."""
    with whole(path) as partial:
        peaks[BED_COLUMNS].to_csv(partial, sep="\t", header=False, index=False)


@contextmanager
def _parts(
    fragments: Sequence[Path | str],
    settings: PeakConfig,
    limits: PeakFilter,
    names: Sequence[str] | None,
    groups: Sequence[Mapping[str, str]] | None,
    threads: int,
) -> Iterator[dict[str, Callable[[], Pool]]]:
    """Yield for each call its name and what returns its fragments."""
    cap, standard, sizes = _cap(settings), limits.standard_chromosomes, limits.chrom_sizes
    pooling = partial(pool_fragments, cap=cap, standard_chromosomes=standard, chrom_sizes=sizes)
    if settings.calls == "cluster":
        if groups is None:
            message = "peaks.calls is cluster, but no table says which barcode is in which cluster"
            raise DataError(message)
        with grouped_fragments(
            fragments, groups, cap=cap, standard_chromosomes=standard, chrom_sizes=sizes
        ) as parts:
            yield parts
    elif settings.calls == "sample":
        check_files(fragments)
        files = zip(names or map(str, fragments), fragments, strict=True)
        yield {name: partial(pooling, [path]) for name, path in files}
    else:
        yield {"pooled": partial(pooling, fragments, threads=threads)}


def _cap(settings: PeakConfig) -> int | None:
    """Return up to how many fragments of a position are counted; None: MACS2 gets all of them."""
    if settings.keep_duplicates == "auto":
        return LARGEST_COUNT
    if settings.keep_duplicates == "all" or settings.keep_duplicates > LARGEST_COUNT:
        return None
    return settings.keep_duplicates


def _call(program: str, pool: Pool, settings: PeakConfig) -> pd.DataFrame:
    """Return the narrow peaks of a pool; duplicates that MACS2 would drop are dropped before it."""
    keep = largest_duplicates(settings, pool.n_fragments)
    with temporary_folder(f"{settings.caller}-") as folder:
        inputs = list(pool.files)
        if keep is not None and keep <= pool.starts.cap:
            inputs = [str(folder / "pool.bed")]
            n_tags = pool.write_tags(Path(inputs[0]), cap=keep)
            logger.info("%d fragments, %d of them kept as tags", pool.n_fragments, n_tags)
        with room_in(folder), pool.starts.set_aside(folder):
            return narrow_peaks(
                program,
                inputs,
                settings,
                tag_size=pool.tag_size,
                keep_duplicates="all" if keep is None else keep,
                folder=folder,
            )


def _of_all(rows: Sequence[Row], counts: Row) -> Row:
    """Return the summary of merged calls; occupancy is a matter of each of them."""
    total = sum(int(row["n_fragments"]) for row in rows)
    nothing = {"occupancy_in_peaks": float("nan"), "occupancy_outside": float("nan")}
    return {"call": "merged", "n_fragments": total, "tag_size_bp": 0, **counts, **nothing}


def _warn_where_saturated(rows: Sequence[Row], settings: PeakConfig) -> None:
    full = [row for row in rows if float(row["occupancy_in_peaks"]) > SATURATED]
    if not full:
        return
    others = [f"peaks.calls: {name}" for name in ("sample", "cluster") if name != settings.calls]
    if settings.keep_duplicates not in ("auto", "all"):
        others.append("peaks.keep_duplicates: auto")
    logger.warning(
        "%d of %d calls are saturated (first: %s): fragments start at %.0f %% of the bases of its"
        " peaks and at %.0f %% of those outside, above %.0f %% one tag a base no longer tells open"
        " from very open chromatin, and neighbouring peaks run together. Consider %s.",
        *(len(full), len(rows), full[0]["call"]),
        *(100 * float(full[0][f"occupancy_{place}"]) for place in ("in_peaks", "outside")),
        *(100 * SATURATED, " or ".join(others)),
    )


def _warn_where_blacklist_is_elsewhere(
    blacklist: pd.DataFrame, calls: Sequence[pd.DataFrame]
) -> None:
    blacklisted = set(blacklist["chrom"])
    called = {name for peaks in calls for name in peaks["chrom"]}
    if blacklisted and called and not blacklisted & called:
        logger.warning(
            "no blacklisted region is on a chromosome with peaks (%s against %s): none is"
            " removed%s",
            *(min(blacklisted), min(called)),
            next((hint for hint in (naming_hint(n, called) for n in blacklisted) if hint), ""),
        )


def _nothing_left(row: Row) -> str:
    return (
        f"no peak is left of {row['n_called']:,} called on {row['n_fragments']:,} fragments"
        f" ({row['n_nonstandard_removed']:,} off the standard chromosomes,"
        f" {row['n_blacklist_removed']:,} blacklisted). Check reference.standard_chromosomes, the"
        " blacklist and peaks.genome_size."
    )
