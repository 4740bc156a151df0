"""The authors' vocabularies, JSON files of names and ids, as ours."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from epifoundation.data.vocabulary import N_SPECIAL, Vocabulary
from epifoundation.errors import ModelError, in_a_line

GENE_CHROMOSOMES_FILE = "gene2chr.json"
SPECIAL_TOKENS = ("<pad>", "<mask>", "<cls>", "<eos>")
WITH_SPECIAL = ("atac", "rna", "chr")  # batches and cell types have no special tokens
KINDS = (*WITH_SPECIAL, "batch", "cell")


def read_authors_vocabularies(folder: Path) -> tuple[Vocabulary, tuple[str, ...]]:
    """Return the authors' vocabularies as ours, and their cell types.

    Their peaks are named by Signac, `chr-start-end` with 1-based closed coordinates; the name is
    kept. Their genes have no ids.
    """
    files = [folder / f"{kind}_vocab.json" for kind in KINDS] + [folder / GENE_CHROMOSOMES_FILE]
    absent = [path.name for path in files if not path.is_file()]
    if absent:
        message = (
            f"{folder} lacks {', '.join(absent)}. The authors' vocabularies are {len(files)} JSON"
            f" files: {', '.join(path.name for path in files)}."
        )
        raise ModelError(message)
    names = {kind: _names_in_order(folder, kind) for kind in KINDS}
    chromosome_of = read_json(folder / GENE_CHROMOSOMES_FILE)
    peaks = _peaks_of(names["atac"], folder / "atac_vocab.json")
    without = [gene for gene in names["rna"] if gene not in chromosome_of]
    _refuse(folder / GENE_CHROMOSOMES_FILE, without, len(names["rna"]), "genes have no chromosome")
    genes = pd.DataFrame(
        {
            "gene_name": names["rna"],
            "gene_id": "",
            "chrom": [chromosome_of[gene] for gene in names["rna"]],
        }
    )
    known = set(names["chr"])
    for what, table in (("peaks", peaks), ("genes", genes)):
        unknown = [str(chrom) for chrom in table["chrom"] if chrom not in known]
        _refuse(folder / "chr_vocab.json", unknown, len(table), f"chromosomes of {what} are absent")
    vocabulary = Vocabulary(peaks, genes, tuple(names["chr"]), tuple(names["batch"]))
    return vocabulary, tuple(names["cell"])


def _names_in_order(folder: Path, kind: str) -> list[str]:
    """Return the names of a vocabulary by id, special tokens not among them."""
    path = folder / f"{kind}_vocab.json"
    ids = read_json(path)
    wrong = [name for name, value in ids.items() if type(value) is not int]
    _refuse(path, wrong, len(ids), "names have no whole number as id")
    ordered = sorted(ids, key=ids.__getitem__)
    if [ids[name] for name in ordered] != list(range(len(ids))):
        repeated = [value for value, times in Counter(ids.values()).items() if times > 1]
        why = f"id {repeated[0]} stands twice" if repeated else f"the largest is {ids[ordered[-1]]}"
        message = (
            f"{path}: ids are not 0 to {len(ids) - 1} ({why}). Is it the file of this checkpoint?"
        )
        raise ModelError(message)
    if kind not in WITH_SPECIAL:
        return ordered
    if tuple(ordered[:N_SPECIAL]) != SPECIAL_TOKENS:
        message = (
            f"{path}: ids 0 to {N_SPECIAL - 1} are {', '.join(ordered[:N_SPECIAL])}, expected"
            f" {', '.join(SPECIAL_TOKENS)}. Is it a vocabulary of the authors' prepare_data?"
        )
        raise ModelError(message)
    return ordered[N_SPECIAL:]


def read_json(path: Path) -> dict[str, Any]:
    """Return the names and values of a JSON file."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read ({in_a_line(error)}). Download it again."
        raise ModelError(message) from error
    if not isinstance(found, dict) or not found:
        message = f"{path} holds no names and ids, but {type(found).__name__}: {str(found)[:60]}"
        raise ModelError(message)
    return found


def _peaks_of(names: Sequence[str], path: Path) -> pd.DataFrame:
    """Return chrom, start, end (0-based, half-open) and name of peaks named by Signac."""
    parts = pd.Series(names, dtype=str).str.extract(r"^(.+)-(\d+)-(\d+)$")
    wrong = parts[0].isna().to_numpy()
    _refuse(path, [n for n, bad in zip(names, wrong, strict=True) if bad], len(names),
            "peaks are not named chr-start-end")  # fmt: skip
    start, end = parts[1].astype(int) - 1, parts[2].astype(int)
    return pd.DataFrame({"chrom": parts[0], "start": start, "end": end, "name": list(names)})


def _refuse(path: Path, wrong: Sequence[str], total: int, what: str) -> None:
    if wrong:
        message = (
            f"{path}: {len(wrong):,} of {total:,} {what} (first: {wrong[0]}). Give the files this"
            " checkpoint was trained with."
        )
        raise ModelError(message)
