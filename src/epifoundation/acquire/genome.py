"""The genome of a run: sequence, annotation, blacklist and sizes, checked against one another."""

import gzip
import logging
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, cast

import pysam
from pysam.utils import SamtoolsError

from epifoundation.acquire.annotation import build_of, normalise_gtf
from epifoundation.errors import AcquireError
from epifoundation.files import file_hash, whole

logger = logging.getLogger(__name__)

GZIP_MAGIC = b"\x1f\x8b"
TAR_MAGIC = b"ustar"  # at byte 257 of a tar file
FASTA_MEMBER = re.compile(r"(^|/)fasta/genome\.fa$")
GTF_MEMBER = re.compile(r"(^|/)genes/genes\.gtf(\.gz)?$")


@dataclass(frozen=True)
class ReferenceSources:
    """Files a genome is made from, gzipped or not.

    `fasta` may be a 10x reference, as a tarball or an unpacked folder; `annotation` is None then.
    """

    fasta: Path
    annotation: Path | None
    blacklist: Path


def build_reference(
    sources: ReferenceSources, directory: Path | str, chromosomes: Sequence[str]
) -> None:
    """Write genome.fa, genome.fa.fai, genes.gtf, blacklist.bed and chrom_sizes.tsv.

    All of them name the same chromosomes, and `chromosomes` (those the run relies on) are among
    them; each line of genes.gtf has gene_id, gene_name and gene_type. `blacklist.bed` is BED3, in
    the order of the sequence; `chrom_sizes.tsv` has name and length, in the same order, without a
    header.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=directory, prefix=".reference-") as folder:
        made, raw_gtf = Path(folder, "made"), Path(folder, "genes.gtf")
        made.mkdir()
        _take(sources, made / "genome.fa", raw_gtf)
        sizes = index_fasta(made / "genome.fa", sources.fasta)
        check_chromosomes(sizes, chromosomes, sources.fasta)
        regions = read_blacklist(sources.blacklist, sizes)
        shown = sources.annotation or sources.fasta
        normalise_gtf(raw_gtf, made / "genes.gtf", sizes, shown=shown)
        _write_rows(made / "blacklist.bed", regions)
        _write_rows(made / "chrom_sizes.tsv", list(sizes.items()))
        for path in list(made.iterdir()):
            path.replace(directory / path.name)
    logger.info("%d sequences, %d blacklisted regions", len(sizes), len(regions))


def _take(sources: ReferenceSources, fasta: Path, gtf: Path) -> None:
    """Unpack sequence and annotation to the given paths."""
    if sources.fasta.is_dir():
        take_from_folder(sources.fasta, fasta, gtf)
    elif is_tar(sources.fasta):
        take_from_tar(sources.fasta, fasta, gtf)
    else:
        with opened(sources.fasta) as reader, fasta.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
        if sources.annotation is None:
            message = (
                f"reference.annotation is null, but {sources.fasta} is no 10x reference (tarball"
                " or folder). Name a GTF file."
            )
            raise AcquireError(message)
    if sources.annotation is not None:
        with opened(sources.annotation) as reader, gtf.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)


def take_from_folder(folder: Path, fasta: Path, gtf: Path) -> None:
    """Copy fasta/genome.fa and genes/genes.gtf(.gz) out of an unpacked 10x reference."""
    check_arc_reference(folder, folder)
    for target, source in ((fasta, folder / "fasta" / "genome.fa"), (gtf, _genes_of(folder))):
        with opened(source) as reader, target.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)


def _genes_of(folder: Path) -> Path:
    packed = folder / "genes" / "genes.gtf.gz"
    return packed if packed.is_file() else folder / "genes" / "genes.gtf"


def check_arc_reference(folder: Path, shown: Path) -> None:
    """Raise AcquireError unless `folder` is a whole 10x reference whose parts are of one genome."""
    parts = {
        "fasta/genome.fa": folder / "fasta" / "genome.fa",
        "genes/genes.gtf": _genes_of(folder),
    }
    lacking = [name for name, path in parts.items() if not path.is_file()]
    if lacking:
        message = (
            f"{shown} has no {' and no '.join(lacking)}; is it a 10x reference (refdata-...), and"
            " whole?"
        )
        raise AcquireError(message)
    fai, star = folder / "fasta" / "genome.fa.fai", folder / "star" / "chrNameLength.txt"
    sizes = {path: _sizes_in(path) for path in (fai, star) if path.is_file()}
    if len(sizes) == 2 and sizes[fai] != sizes[star]:
        apart = set(sizes[fai].items()) ^ set(sizes[star].items())
        message = (
            f"{shown}: fasta/ and star/ are of different genomes ({len(apart)} names or lengths"
            f" differ, first: {' '.join(map(str, min(apart)))}). Fetch it again."
        )
        raise AcquireError(message)
    if fai in sizes:
        name, *row = fai.read_text().splitlines()[-1].split("\t")
        length, offset, bases, width = map(int, row)
        lines, rest = divmod(length - 1, bases)
        needed = offset + lines * width + rest + 1
        if parts["fasta/genome.fa"].stat().st_size < needed:
            message = f"{shown}: fasta/genome.fa ends before {name} does. Fetch it again."
            raise AcquireError(message)


def _sizes_in(path: Path) -> dict[str, int]:
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    return {row[0]: int(row[1]) for row in rows}


def take_from_tar(tarball: Path, fasta: Path, gtf: Path) -> None:
    """Copy fasta/genome.fa and genes/genes.gtf(.gz) out of a 10x reference tarball."""
    wanted = {fasta: FASTA_MEMBER, gtf: GTF_MEMBER}
    try:
        with tarfile.open(tarball, "r|*") as archive:
            for member in archive:
                target = next((t for t, name in wanted.items() if name.search(member.name)), None)
                content = archive.extractfile(member) if target and member.isfile() else None
                if target is None or content is None:
                    continue
                with target.open("wb") as writer, _plain(content) as reader:
                    shutil.copyfileobj(reader, writer, 1 << 20)
                del wanted[target]
                if not wanted:
                    return
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        message = f"{tarball} cannot be read as a tarball ({error}). Fetch it again."
        raise AcquireError(message) from error
    lacking = " and ".join(name.pattern for name in wanted.values())
    message = f"{tarball} has no member like {lacking}; is it a 10x reference (refdata-...)?"
    raise AcquireError(message)


def unpack_arc_reference(source: Path | str, directory: Path | str) -> None:
    """Unpack a 10x reference, without its top folder; no member may leave `directory`.

    Of a folder, unpacked already, `directory` gets links to the parts.
    """
    source = Path(source)
    if source.is_dir():
        check_arc_reference(source, source)
        with whole(directory) as partial:
            partial.mkdir()
            for part in sorted(source.iterdir()):
                (partial / part.name).symlink_to(part.resolve())
        return
    if not is_tar(source):
        message = (
            f"{source} is no tarball, and engine cellranger-arc needs the 10x reference. Set"
            " reference.fasta to refdata-cellranger-arc-*.tar.gz or the folder it unpacks to, or"
            " align.engine to open."
        )
        raise AcquireError(message)
    with whole(directory) as partial:
        partial.mkdir()
        try:
            with tarfile.open(source, "r|*") as archive:
                _unpack(archive, partial, source)
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            message = f"{source} cannot be unpacked ({error}). Fetch it again."
            raise AcquireError(message) from error
        top = list(partial.iterdir())
        if len(top) == 1 and top[0].is_dir() and top[0].name != "fasta":
            unwrapped = top[0].rename(partial / f".{top[0].name}")
            for child in list(unwrapped.iterdir()):
                child.rename(partial / child.name)
            unwrapped.rmdir()
        check_arc_reference(partial, source)


def _unpack(archive: tarfile.TarFile, folder: Path, source: Path) -> None:
    """Write the files and folders of an archive, ours and with usual modes, and nothing else.

    Python has filters for that from 3.11.4 on only, and these let links pass.
    """
    for member in archive:
        name = PurePosixPath(member.name.lstrip("/"))
        content = archive.extractfile(member) if member.isfile() else None
        if ".." in name.parts or not (content or member.isdir()):
            message = (
                f"{source} is not safe to unpack: {member.name} is a link, a device or outside of"
                " the folder. Do not use it."
            )
            raise AcquireError(message)
        target = folder / name
        (target if content is None else target.parent).mkdir(parents=True, exist_ok=True)
        if content is not None:
            with target.open("wb") as writer, content:
                shutil.copyfileobj(content, writer, 1 << 20)


def check_md5(path: Path, md5: str | None) -> None:
    """Raise AcquireError if a local file is not the one whose checksum the configuration names."""
    if md5 is None or path.is_dir():
        return
    found = file_hash(path, "md5")
    if found != md5:
        message = (
            f"{path} has MD5 {found}, reference.md5 is {md5}: another file, or damaged. Fetch it"
            " again, or correct reference.md5 (null: not checked)."
        )
        raise AcquireError(message)


def index_fasta(fasta: Path, source: Path) -> dict[str, int]:
    """Write `<fasta>.fai` and return length by sequence, in the order of the file."""
    try:
        pysam.faidx(str(fasta))
    except SamtoolsError as error:
        message = f"{source} cannot be indexed as FASTA: {str(error).strip()}"
        raise AcquireError(message) from None
    rows = [line.split("\t") for line in Path(f"{fasta}.fai").read_text().splitlines()]
    if not rows:
        message = f"{source} holds no sequence."
        raise AcquireError(message)
    return {row[0]: int(row[1]) for row in rows}


def check_chromosomes(sizes: dict[str, int], wanted: Sequence[str], source: Path) -> None:
    """Raise AcquireError unless the configured chromosomes are in the sequence."""
    lacking = [name for name in wanted if name not in sizes]
    if lacking:
        message = (
            f"{source} lacks {len(lacking)} of the {len(wanted)} chromosomes of"
            f" reference.standard_chromosomes and reference.mitochondrial (first: {lacking[0]}; it"
            f" has {', '.join(list(sizes)[:3])} ...). Correct the names in the configuration."
        )
        raise AcquireError(message)


def read_blacklist(path: Path, sizes: dict[str, int]) -> list[tuple[str, int, int]]:
    """Return the regions of a BED file (0-based, half-open), in the order of `sizes`."""
    regions = []
    with opened(path) as handle:
        for number, line in enumerate(handle, start=1):
            fields = line.decode().split()
            if not fields or fields[0].startswith(("#", "track", "browser")):
                continue
            try:
                regions.append((fields[0], int(fields[1]), int(fields[2])))
            except (IndexError, ValueError):
                message = f"{path} line {number} is no BED: {line.decode().strip()!r}"
                raise AcquireError(message) from None
    unknown = [r for r in regions if r[0] not in sizes]
    outside = [r for r in regions if r[0] in sizes and not 0 <= r[1] < r[2] <= sizes[r[0]]]
    for strange, what in ((unknown, "on unknown chromosomes"), (outside, "outside or empty")):
        if strange:
            chrom, start, end = strange[0]
            built = f" The sequence is {build}." if (build := build_of(sizes)) else ""
            message = (
                f"{path}: {len(strange)} of {len(regions)} regions are {what} (first:"
                f" {chrom}:{start}-{end}).{built} Use the blacklist of this very genome."
            )
            raise AcquireError(message)
    order = {name: i for i, name in enumerate(sizes)}
    return sorted(regions, key=lambda r: (order[r[0]], r[1], r[2]))


def is_tar(path: Path) -> bool:
    """Say whether a file, gzipped or not, is a tarball."""
    with opened(path) as handle:
        return handle.read(262)[257:] == TAR_MAGIC


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacked if it is gzipped, whatever its name."""
    try:
        with path.open("rb") as handle, _plain(handle) as reader:
            yield reader
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        message = f"{path} is damaged ({error}). Fetch it again."
        raise AcquireError(message) from None
    except FileNotFoundError:
        message = f"{path} does not exist. Correct it in the section `reference`."
        raise AcquireError(message) from None


@contextmanager
def _plain(handle: IO[bytes]) -> Iterator[IO[bytes]]:
    if cast(BufferedReader, handle).peek(2)[:2] != GZIP_MAGIC:
        yield handle
        return
    with gzip.GzipFile(fileobj=handle) as reader:
        yield cast(IO[bytes], reader)


def _write_rows(path: Path, rows: list[tuple[str, int, int]] | list[tuple[str, int]]) -> None:
    with path.open("w") as handle:
        handle.writelines("\t".join(map(str, row)) + "\n" for row in rows)
