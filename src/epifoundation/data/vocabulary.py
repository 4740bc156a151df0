"""What the token ids mean: peaks, genes, chromosomes and batches, in a fixed order."""

import gzip
import hashlib
import json
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self, TypeVar

import mudata as md
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epifoundation.contracts import SCHEMA_VERSION
from epifoundation.data.multiome_rows import MultiomeRows
from epifoundation.errors import ContractError, DataError, in_a_line
from epifoundation.files import whole
from epifoundation.multiome import PEAK_COLUMNS

logger = logging.getLogger(__name__)

Part = TypeVar("Part")

# Ids of the special tokens, the same for peaks, genes and chromosomes (authors' vocabularies).
PAD, MASK, CLS, EOS = range(4)
N_SPECIAL = 4

PEAKS_FILE, GENES_FILE = "peaks.bed.gz", "genes.tsv"
CHROMOSOMES_FILE, BATCHES_FILE, SUMMARY_FILE = "chromosomes.txt", "batches.txt", "vocabulary.json"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Ordered ids: row i of `peaks` and `genes` and item i of `chromosomes` have id i + 4.

    `peaks` has columns chrom, start, end (0-based, half-open) and name; `genes` has gene_name,
    gene_id, chrom and, where known, gene_type. Item i of `batches` has id i: batches have no
    special tokens.
    """

    peaks: pd.DataFrame
    genes: pd.DataFrame
    chromosomes: tuple[str, ...]
    batches: tuple[str, ...]

    @property
    def n_peaks(self) -> int:
        """Number of peaks, special tokens not counted."""
        return len(self.peaks)

    @property
    def n_genes(self) -> int:
        """Number of genes, special tokens not counted."""
        return len(self.genes)

    @cached_property
    def hash(self) -> str:
        """Digest of all ids; equal only where every id means the same."""
        digest = hashlib.sha256()
        for part in (self._peaks_text(), self._genes_text(), *map(_lines, self._name_lists())):
            digest.update(hashlib.sha256(part.encode()).digest())
        return digest.hexdigest()[:16]

    def peak_chromosomes(self) -> NDArray[np.int32]:
        """Chromosome id of each peak token, shape (n_peaks + 4,); special tokens map to theirs."""
        return self._chromosome_ids(self.peaks)

    def gene_chromosomes(self) -> NDArray[np.int32]:
        """Chromosome id of each gene token, shape (n_genes + 4,); special tokens map to theirs."""
        return self._chromosome_ids(self.genes)

    def _chromosome_ids(self, features: pd.DataFrame) -> NDArray[np.int32]:
        codes = pd.Index(self.chromosomes).get_indexer(pd.Index(features["chrom"])) + N_SPECIAL
        return np.concatenate([np.arange(N_SPECIAL), codes]).astype(np.int32)

    def write(self, directory: Path | str) -> None:
        """Write the vocabulary as a folder, whole or not at all."""
        with whole(directory) as partial:
            partial.mkdir()
            self.write_files(partial)

    def write_files(self, directory: Path) -> None:
        """Write the vocabulary's files into an existing folder, e.g. of a model."""
        packed = gzip.compress(self._peaks_text().encode(), mtime=0)
        (directory / PEAKS_FILE).write_bytes(packed)
        (directory / GENES_FILE).write_text(self._genes_text())
        (directory / CHROMOSOMES_FILE).write_text(_lines(self.chromosomes))
        (directory / BATCHES_FILE).write_text(_lines(self.batches))
        summary = {
            "schema_version": SCHEMA_VERSION,
            "hash": self.hash,
            "n_peaks": self.n_peaks,
            "n_genes": self.n_genes,
            "n_chromosomes": len(self.chromosomes),
            "n_batches": len(self.batches),
        }
        (directory / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")

    @classmethod
    def read(cls, directory: Path | str, *, remedy: str = "Rerun build_vocabulary.") -> Self:
        """Return the vocabulary in `directory`, checked against its recorded hash.

        `remedy` ends what is said of a damaged one.
        """
        folder = Path(directory)
        expected = _parsed(folder / SUMMARY_FILE, _read_hash, remedy)
        found = cls(
            _parsed(folder / PEAKS_FILE, _read_peaks, remedy),
            _parsed(folder / GENES_FILE, _read_genes, remedy),
            _parsed(folder / CHROMOSOMES_FILE, _read_names, remedy),
            _parsed(folder / BATCHES_FILE, _read_names, remedy),
        )
        if found.hash != expected:
            message = (
                f"{folder}: {PEAKS_FILE}, {GENES_FILE}, {CHROMOSOMES_FILE} and {BATCHES_FILE} have"
                f" hash {found.hash}, {SUMMARY_FILE} says {expected}: one of them was edited or cut"
                f" short. {remedy}"
            )
            raise ContractError(message)
        return found

    def _peaks_text(self) -> str:
        columns = self.peaks[[*PEAK_COLUMNS, "name"]]
        return str(columns.to_csv(sep="\t", header=False, index=False, lineterminator="\n"))

    def _genes_text(self) -> str:
        return str(self.genes.to_csv(sep="\t", index=False, lineterminator="\n"))

    def _name_lists(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.chromosomes, self.batches


def build_vocabulary(cells: md.MuData | MultiomeRows) -> Vocabulary:
    """Return the vocabulary of an assembled atlas: its peaks, genes and batches in their order.

    Chromosomes come in order of first appearance among the peaks, then among the genes.
    """
    rows = MultiomeRows.of(cells)
    atac, rna = rows.var("atac"), rows.var("rna")
    peaks = atac[list(PEAK_COLUMNS)].astype({"chrom": str, "start": np.int64, "end": np.int64})
    peaks = peaks.assign(name=atac.index.astype(str)).reset_index(drop=True)
    columns = [name for name in ("gene_id", "chrom", "gene_type") if name in rna]
    genes = rna[columns].astype(str).reset_index(drop=True)
    genes.insert(0, "gene_name", rna.index.astype(str))
    for what, table in (("peaks", peaks), ("genes", genes)):
        _check_features(what, table)
    chromosomes = tuple(dict.fromkeys([*peaks["chrom"], *genes["chrom"]]))
    batches = tuple(dict.fromkeys(rows.obs["batch"].astype(str)))
    vocabulary = Vocabulary(peaks, genes, chromosomes, batches)
    logger.info(
        "vocabulary %s: %d peaks, %d genes, %d chromosomes, %d batches",
        vocabulary.hash,
        vocabulary.n_peaks,
        vocabulary.n_genes,
        len(chromosomes),
        len(batches),
    )
    return vocabulary


def _check_features(what: str, table: pd.DataFrame) -> None:
    if "chrom" not in table:
        message = f"{what} have no chromosome (var column `chrom`), which the model embeds"
        raise DataError(message)
    if table.empty:
        message = f"the atlas has no {what}"
        raise DataError(message)
    key = list(PEAK_COLUMNS) if what == "peaks" else ["gene_name"]
    repeated = table.duplicated(key)
    if repeated.any():
        example = " ".join(map(str, table.loc[repeated, key].iloc[0]))
        message = (
            f"{repeated.sum()} of {len(table)} {what} repeat (first: {example});"
            " each must have one token"
        )
        raise DataError(message)


def _lines(names: tuple[str, ...]) -> str:
    return "".join(f"{name}\n" for name in names)


def _parsed(path: Path, read: Callable[[Path], Part], remedy: str) -> Part:
    try:
        return read(path)
    except FileNotFoundError as error:
        message = f"{path.parent} is no vocabulary: it has no {path.name}. {remedy}"
        raise ContractError(message) from error
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        message = f"{path} cannot be read, or is damaged ({in_a_line(error)}). {remedy}"
        raise ContractError(message) from error


def _read_hash(path: Path) -> str:
    return str(json.loads(path.read_text())["hash"])


def _read_peaks(path: Path) -> pd.DataFrame:
    return pd.read_csv(
        path,
        sep="\t",
        header=None,
        names=[*PEAK_COLUMNS, "name"],
        dtype={"chrom": str, "start": np.int64, "end": np.int64, "name": str},
        keep_default_na=False,
    )


def _read_genes(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


def _read_names(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text().splitlines())
