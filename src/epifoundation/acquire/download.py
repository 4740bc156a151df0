"""All files of one sample, several at once, each whole and verified."""

import hashlib
import logging
import shutil
import threading
import time
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from epifoundation.acquire.content import BarcodeList, FirstReads, check_pairing
from epifoundation.acquire.locator import PREFETCH
from epifoundation.acquire.transfer import fetch
from epifoundation.acquire.unpack import Unpacked, prefetch, unpack
from epifoundation.config import AcquireConfig
from epifoundation.contracts import READS
from epifoundation.errors import AcquireError

logger = logging.getLogger(__name__)

# What is made of a byte: bamtofastq's gzipped FASTQ; fasterq-dump's plain FASTQ and its scratch.
MADE_OF = {"fastq": 0.0, "bam": 1.2, "sra": 6.0}


def download(
    manifest: pd.DataFrame,
    directory: Path | str,
    settings: AcquireConfig,
    *,
    lists: Mapping[str, BarcodeList] | None = None,
    threads: int = 1,
    wait_seconds: float = 1.0,
) -> pd.DataFrame:
    """Fill `directory` with a sample's FASTQ files and return their table (contracts.READS).

    It appears when all of them are right. Until then what the MANIFEST lists gathers in
    `.incoming-<name>` beside it, so that a call after a failure fetches only what is lacking. The
    first error stops the files not yet begun. Of BAM and archived runs FASTQ is made once all is
    here; they are then removed. With `lists` the barcodes of both libraries must be of the same
    cells.
    """
    directory = Path(directory)
    incoming = directory.with_name(f".incoming-{directory.name}")
    if directory.is_dir() and not incoming.exists():
        directory.rename(incoming)
    incoming.mkdir(parents=True, exist_ok=True)
    done = incoming / f".reads-{_hash(manifest)}.tsv"  # written when only moving is left
    if not done.exists():
        _check_space(manifest, incoming)
        _fetch_all(manifest, incoming, settings, directory.name, wait_seconds)
        first = FirstReads(lists, settings.retries)
        rows = _rows_as_they_are(manifest, incoming)
        for file in unpack(manifest, incoming, first, threads=threads):
            rows.append(_row_of(file))
            link = incoming / str(rows[-1]["file"])
            link.unlink(missing_ok=True)
            link.hardlink_to(file.path)
        table = pd.DataFrame(rows)
        if lists is not None:
            _check_pairing(table, incoming, first, len(lists["gex"].line), directory.name)
        READS.write(table, done)
    table = READS.read(done)
    keep = {incoming / name for name in table["file"]}
    for path in set(incoming.iterdir()) - keep - {done}:
        _remove(path)  # of an earlier manifest, or what FASTQ was made of
    if directory.exists():
        shutil.rmtree(directory)
    incoming.rename(directory)
    (directory / done.name).unlink()
    return table


def _hash(manifest: pd.DataFrame) -> str:
    text = manifest.to_csv(sep="\t", index=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _rows_as_they_are(manifest: pd.DataFrame, folder: Path) -> list[dict[str, object]]:
    """Return the rows of READS of the files that are FASTQ already."""
    fastq = manifest[manifest["route"] == "fastq"]
    return [
        {
            "file": row["file"],
            "bytes": (folder / str(row["file"])).stat().st_size,
            "library": row["library"],
            "lane": row["lane"],
            "read": row["read"],
            "origin": row.get("origin") or row["url"],
        }
        for row in fastq.to_dict("records")
    ]


def _row_of(file: Unpacked) -> dict[str, object]:
    return {
        "file": f"{file.library}_{file.lane}_{file.read}.fastq.gz",
        "bytes": file.path.stat().st_size,
        "library": file.library,
        "lane": file.lane,
        "read": file.read,
        "origin": file.origin,
    }


def _check_pairing(
    table: pd.DataFrame, folder: Path, first: FirstReads, n_barcodes: int, sample: str
) -> None:
    """Hold the barcodes of the first lanes of both libraries against each other."""
    lines = []
    for library, read in (("gex", "R1"), ("atac", "R2")):
        files = table.loc[(table["library"] == library) & (table["read"] == read), "file"]
        if files.empty:
            return
        lines.append(first.barcodes(str(folder / files.iloc[0]), library))
    if lines[0] is not None and lines[1] is not None:
        check_pairing(lines[0], lines[1], n_barcodes, names=f"sample {sample}")


def _fetch_all(
    manifest: pd.DataFrame,
    incoming: Path,
    settings: AcquireConfig,
    sample: str,
    wait_seconds: float,
) -> None:
    """Fetch what a manifest lists, several files at once."""
    progress = _Progress(sample, manifest, incoming)
    failed = threading.Event()

    def one(row: Mapping[Hashable, object]) -> None:
        if failed.is_set():
            return
        name, url = str(row["file"]), str(row["url"])
        try:
            if url.startswith(PREFETCH) and not (incoming / name).exists():
                prefetch(url.removeprefix(PREFETCH), incoming / name)
                progress.add(name, (incoming / name).stat().st_size)
            fetch(
                url if not url.startswith(PREFETCH) else str(incoming / name),
                incoming / name,
                md5=str(row["md5"]) or None,
                bytes=int(str(row["bytes"])),
                retries=settings.retries,
                wait_seconds=wait_seconds,
                counter=lambda n: progress.add(name, n),
            )
        except BaseException:
            failed.set()
            raise
        progress.finish(name)

    with ThreadPoolExecutor(max_workers=settings.parallel_downloads) as pool:
        futures = [pool.submit(one, row) for row in manifest.to_dict("records")]
    for future in futures:
        future.result()


def _check_space(manifest: pd.DataFrame, incoming: Path) -> None:
    here = sum(path.stat().st_size for path in incoming.iterdir() if path.is_file())
    made = int((manifest["bytes"] * manifest["route"].map(MADE_OF)).sum())
    needed = int(manifest["bytes"].sum()) - here + made
    free = shutil.disk_usage(incoming).free
    if needed > free:
        message = (
            f"{incoming.parent}: {needed / 1e9:,.3g} GB are still needed, for files to fetch and"
            f" for FASTQ made of them, and only {free / 1e9:,.3g} GB are free. Make room, or set"
            " results_dir to a larger disk."
        )
        raise AcquireError(message)


def _at_hand(path: Path) -> int:
    partial = path.with_name(path.name + ".part")
    return sum(p.stat().st_size for p in (path, partial) if p.exists())


class _Progress:
    """Bytes at hand of each file and of all; says so every few seconds, from any thread."""

    def __init__(
        self, what: str, manifest: pd.DataFrame, incoming: Path, every_seconds: float = 10.0
    ) -> None:
        self.what = what
        self.sizes = dict(zip(manifest["file"], manifest["bytes"].astype(int), strict=True))
        self.done = {name: _at_hand(incoming / name) for name in self.sizes}
        self.every_seconds = every_seconds
        self.lock = threading.Lock()
        self.start = self.reported = time.monotonic()
        self.received = 0

    def add(self, name: str, n_bytes: int) -> None:
        with self.lock:
            self.done[name] += n_bytes
            self.received += max(n_bytes, 0)
            now = time.monotonic()
            if now - self.reported >= self.every_seconds:
                self.reported = now
                logger.info("%s", self.line(now - self.start))

    def finish(self, name: str) -> None:
        with self.lock:
            n_done = sum(self.done[n] >= size for n, size in self.sizes.items())
            logger.info(
                "%s: %s is complete (%.1f MB), %d of %d files; %s",
                self.what,
                name,
                self.sizes[name] / 1e6,
                n_done,
                len(self.sizes),
                self.line(time.monotonic() - self.start),
            )

    def line(self, seconds: float) -> str:
        """Return e.g. 'pbmc: 12.0 of 40.0 MB, 2.0 MB/s, 14 s left; gex_L001_R1.fastq.gz 60%'."""
        total, at_hand = sum(self.sizes.values()), sum(self.done.values())
        rate = self.received / max(seconds, 1e-9)
        line = f"{self.what}: {at_hand / 1e6:,.1f} of {total / 1e6:,.1f} MB, {rate / 1e6:,.1f} MB/s"
        if rate > 0:
            left = max(total - at_hand, 0) / rate
            ends = time.strftime("%H:%M:%S", time.localtime(time.time() + left))
            line += f", {left:,.0f} s left (ends {ends})"
        under_way = [
            f"{name} {self.done[name] / size:.0%}"
            for name, size in self.sizes.items()
            if 0 < self.done[name] < size
        ]
        return "; ".join([line, *under_way])
