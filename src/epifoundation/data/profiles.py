"""Expression profiles of known cell types, as DISCO's service gives them: read and checked."""

import gzip
import logging
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from anndata.utils import make_index_unique

from epifoundation.errors import ContractError, DataError
from epifoundation.files import file_hash

logger = logging.getLogger(__name__)

ATLAS_MARK = "--"  # a DISCO profile is named `<cell type>--<atlas>`
GZIP_MAGIC = b"\x1f\x8b"
WANTED = "Expected TSV or CSV: gene symbols first, then one numeric column per cell type."
Compression = Literal["gzip"]
KINDS_OF_NAMES = (  # in this order
    ("Ensembl ids", re.compile(r"ENS[A-Z]*G\d{6,}")),
    ("Entrez ids", re.compile(r"\d+")),
    ("mouse symbols", re.compile(r"[A-Z][a-z][a-z0-9]*(-[a-z0-9]+)?")),
)


def read_profiles(path: Path | str) -> pd.DataFrame:
    """Return log-normalised profiles, gene symbols × `type` or `type--atlas`.

    The file is TSV or CSV, told by its header, gzipped or not. Repeated symbols get a suffix, as
    Seurat gives them to genes.
    """
    separator, compression = _format_of(path)
    try:
        profiles = pd.read_csv(
            path, sep=separator, index_col=0, compression=compression, keep_default_na=False
        )
    except (OSError, EOFError, ValueError) as error:
        message = f"{path} cannot be read as profiles ({error}). {WANTED}"
        raise ContractError(message) from error
    _check(profiles, path)
    symbols = profiles.index.astype(str)
    if n_repeated := int(symbols.duplicated().sum()):
        example = symbols[symbols.duplicated()][0]
        logger.info("%s: %d symbols repeat (first: %s)", path, n_repeated, example)
    profiles.index = make_index_unique(symbols, join=".")
    logger.info("%s: %d genes × %d profiles", path, *profiles.shape)
    return profiles


def record_download(path: Path | str, url: str) -> None:
    """Check that profiles came from `url`, and log what they are: size, SHA-256, atlases."""
    try:
        profiles = read_profiles(path)
    except ContractError as error:
        error.add_note(f"It came from {url}. Fetch it by hand and name the file in labels.profiles")
        raise
    atlases = atlases_of(profiles.columns)
    size, digest = Path(path).stat().st_size, file_hash(path)
    logger.info("%s: %d bytes, SHA-256 %s", url, size, digest)
    logger.info("atlases (%d): %s", len(atlases), ", ".join(atlases) or "none is named")


def atlases_of(columns: Iterable[object]) -> list[str]:
    """Return the atlases that names `type--atlas` name, sorted."""
    parts = [str(name).rpartition(ATLAS_MARK) for name in columns]
    return sorted({atlas for _, mark, atlas in parts if mark})


def profiles_of(profiles: pd.DataFrame, atlas: str | None) -> pd.DataFrame:
    """Return the profiles of an atlas, columns named by type alone and sorted.

    Where no profile names an atlas, all are used whatever `atlas` is.
    """
    atlases, atlas = atlases_of(profiles.columns), resolved_atlas(profiles, atlas)
    if not atlases:
        logger.info("the profiles name no atlas: all %d are used", profiles.shape[1])
        return profiles.rename(columns=str).sort_index(axis=1)
    parts = [str(name).rpartition(ATLAS_MARK) for name in profiles]
    chosen = [i for i, (_, mark, of) in enumerate(parts) if mark and of == atlas]
    if not chosen:
        unnamed = "chosen: neither disco_atlas of the sample nor --atlas names one"
        wanted = f"of the atlas {atlas!r}" if atlas else unnamed
        close = get_close_matches(atlas or "", atlases, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        message = f"no profile is {wanted}. The file has the atlases: {', '.join(atlases)}.{hint}"
        raise DataError(message)
    return (
        profiles.iloc[:, chosen].set_axis([parts[i][0] for i in chosen], axis=1).sort_index(axis=1)
    )


def resolved_atlas(profiles: pd.DataFrame, atlas: str | None) -> str | None:
    """Return the atlas asked for, else the only one that the profiles name."""
    atlases = atlases_of(profiles.columns)
    return atlases[0] if not atlas and len(atlases) == 1 else atlas or None


def kind_of_names(names: Sequence[str]) -> str:
    """Return what most of these gene names look like: Ensembl ids, mouse symbols, symbols …"""
    sample = list(names[:2000])
    for kind, pattern in KINDS_OF_NAMES:
        if (
            sum(bool(pattern.fullmatch(name.partition(".")[0])) for name in sample)
            > len(sample) / 2
        ):
            return kind
    return "symbols"


def _format_of(path: Path | str) -> tuple[str, Compression | None]:
    """Return separator and compression, or say what the file is instead of a table."""
    try:
        with Path(path).open("rb") as handle:
            beginning = handle.read(512)
        compression: Compression | None = "gzip" if beginning.startswith(GZIP_MAGIC) else None
        if compression:
            with gzip.open(path) as unpacked:
                beginning = unpacked.read(512)
    except (OSError, EOFError) as error:
        message = f"{path} cannot be read as profiles ({error}). {WANTED}"
        raise ContractError(message) from error
    instead = None
    if not beginning.strip():
        instead = "is empty"
    elif beginning.lstrip().startswith(b"<"):
        title = re.search(rb"<title>(.*?)</title>", beginning, re.IGNORECASE | re.DOTALL)
        said = f" ({title[1].decode(errors='replace').strip()})" if title else ""
        instead = f"is a web page{said}, such as a server sends in place of a file"
    elif beginning.lstrip().startswith((b"{", b"[")):
        instead = f"is JSON ({beginning[:60].decode(errors='replace')} …)"
    elif beginning.startswith((b"RDX", b"X\n\0")):
        instead = "is R's own format; DISCO gives a table at toolkit/getRef?type=csv"
    elif beginning.startswith(b"\x80"):
        instead = "is a Python pickle, which is never opened; take toolkit/getRef?type=csv"
    if instead:
        message = f"{path} {instead}. {WANTED}"
        raise ContractError(message)
    return ("\t" if b"\t" in beginning.splitlines()[0] else ","), compression


def _check(profiles: pd.DataFrame, path: Path | str) -> None:
    problems = []
    wrong = [name for name, dtype in profiles.dtypes.items() if dtype.kind not in "if"]
    if profiles.empty:
        problems.append(f"it is empty ({len(profiles)} genes × {profiles.shape[1]} profiles)")
    elif wrong:
        problems.append(f"{len(wrong)} columns are not numbers (first: {wrong[0]})")
    else:
        strange = ~np.isfinite(profiles.to_numpy(dtype=np.float64))
        if strange.any():
            row, column = np.argwhere(strange)[0]
            where = f"{profiles.index[row]} in {profiles.columns[column]}"
            problems.append(f"{strange.sum()} values are not finite numbers (first: {where})")
    if problems:
        message = f"{path} holds no profiles: {'; '.join(problems)}. {WANTED}"
        raise ContractError(message)
