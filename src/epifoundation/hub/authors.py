"""The authors' checkpoint and vocabularies as a model of ours."""

import json
import logging
import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import pandas as pd
import torch
from torch import Tensor

from epifoundation.config import ModelConfig
from epifoundation.data.vocabulary import N_SPECIAL, Vocabulary
from epifoundation.errors import ModelError
from epifoundation.hub.directory import Design, FoundationModel, build_network
from epifoundation.hub.weights import misfits, put_weights
from epifoundation.model.authors import authors_name, rename_authors
from epifoundation.model.network import Head

logger = logging.getLogger(__name__)

AUTHORS_DROPOUT, AUTHORS_MAX_PEAKS, AUTHORS_MAX_GENES = 0.15, 11_999, 8_000

GENE_CHROMOSOMES_FILE = "gene2chr.json"
SIZES_FILE = "model_config.json"  # optional; its `heads` is the number of attention heads
PAPER_HEADS = 8
SPECIAL_TOKENS = ("<pad>", "<mask>", "<cls>", "<eos>")
WITH_SPECIAL = ("atac", "rna", "chr")  # batches and cell types have no special tokens
KINDS = (*WITH_SPECIAL, "batch", "cell")
SIZED_BY = {  # whose rows each file counts
    "peak_embedding.table.weight": "atac",
    "gene_embedding.table.weight": "rna",
    "chromosome_embedding.table.weight": "chr",
    "batch_embedding.table.weight": "batch",
    "cell_type_head.out.weight": "cell",
    "cell_type_head.out.bias": "cell",
}


def import_authors(
    checkpoint: Path | str, vocabularies: Path | str, *, n_heads: int | None = None
) -> FoundationModel:
    """Return the authors' pretrained model from their checkpoint and vocabulary JSON files.

    `vocabularies` holds atac_vocab.json, rna_vocab.json, chr_vocab.json, batch_vocab.json,
    cell_vocab.json and gene2chr.json. The checkpoint does not say how many heads attention has:
    null is the `heads` of a model_config.json beside them, or the paper's 8. Only tensors are read
    from it, no code.
    """
    if n_heads is None:
        n_heads = _heads_beside(Path(vocabularies))
    found = _read_checkpoint(Path(checkpoint))
    theirs = {name.removeprefix("module."): tensor for name, tensor in found["model"].items()}
    weights = {name: tensor.float() for name, tensor in rename_authors(theirs).items()}
    for name in weights:
        if name.endswith("num_batches_tracked"):
            weights[name] = weights[name].long()
    vocabulary, cell_types = read_authors_vocabularies(Path(vocabularies))
    design = _design_of(weights, n_heads, checkpoint)
    with torch.device("meta"):
        network = build_network(design, vocabulary, n_cell_types=len(cell_types))
    clauses = misfits(
        network,
        weights,
        named=authors_name,
        explained=lambda name: _explained(name, Path(vocabularies)),
    )
    if clauses:
        message = (
            f"{checkpoint} does not fit the vocabularies in {vocabularies}: {'; '.join(clauses)}."
            " Give the files this checkpoint was trained with."
        )
        raise ModelError(message)
    put_weights(network, weights)
    told = {"stage": "pretrain", "source": Path(checkpoint).name}
    told |= {key: str(found[key]) for key in ("epoch", "steps") if isinstance(found.get(key), int)}
    return FoundationModel(network.eval(), design, vocabulary, cell_types, told)


def _heads_beside(vocabularies: Path) -> int:
    path = vocabularies / SIZES_FILE
    found = _read_json(path).get("heads") if path.is_file() else None
    if isinstance(found, int) and found > 0:
        logger.info("%d attention heads (%s)", found, path)
        return found
    logger.warning(
        "%d attention heads, the paper's: the checkpoint does not say how many, and %s does not;"
        " with another number embeddings are wrong. Name it with --heads.",
        *(PAPER_HEADS, path),
    )
    return PAPER_HEADS


def _read_checkpoint(path: Path) -> dict[str, Any]:
    if not path.is_file():
        message = f"{path} is no file. Give the authors' checkpoint, a .pth."
        raise ModelError(message)
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except (pickle.UnpicklingError, KeyError, IndexError, AttributeError, TypeError) as error:
        message = (
            f"{path} is no file of torch.save, or holds more than tensors and plain values, which"
            " could run code and is not read. Save its state dict alone:"
            ' torch.save({"model": state_dict}, …) where you trust it; or download it again.'
        )
        raise ModelError(message) from error
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"{path} is no checkpoint of the authors' format ({reason}). Download it again."
        raise ModelError(message) from error
    state = found.get("model") if isinstance(found, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        keys = ", ".join(map(str, found))[:200] if isinstance(found, dict) else type(found).__name__
        message = (
            f"{path} is no checkpoint of the authors' format: no state dict under the key `model`"
            f" (found: {keys})."
        )
        raise ModelError(message)
    return dict(found)


def _design_of(weights: dict[str, Tensor], n_heads: int, checkpoint: Path | str) -> Design:
    """Return what the shapes say of the network."""
    first = weights.get("blocks.0.linear1.weight")
    if first is None or first.ndim != 2:
        message = (
            f"{checkpoint} is no checkpoint of the authors' model: it has no"
            " encoder.transformer_encoder.layers.0.linear1.weight"
            f" ({len(weights)} tensors, first: {next(iter(weights), 'none')})."
        )
        raise ModelError(message)
    d_feedforward, d_model = first.shape
    if d_model % n_heads:
        message = (
            f"{checkpoint} is {d_model} wide, which {n_heads} heads do not divide. The number of"
            " heads is in the authors' training configuration; name it with --heads."
        )
        raise ModelError(message)
    config = ModelConfig(
        n_layers=len({name.split(".")[1] for name in weights if name.startswith("blocks.")}),
        n_heads=n_heads,
        d_model=d_model,
        d_feedforward=d_feedforward,
        dropout=AUTHORS_DROPOUT,
        max_peaks=AUTHORS_MAX_PEAKS,
        max_genes=AUTHORS_MAX_GENES,
        embedding_std=1.0,
        initialisation="identical_blocks",
        batch_norm="padded",
        pooling="cls",
        depth_input="none",
    )
    heads: tuple[Head, ...] = ("genes", "cell_types")
    if "expression_decoder.fc1.weight" in weights:
        heads = (*heads, "expression")
    return Design(
        config,
        heads,
        use_batch="batch_embedding.table.weight" in weights,
        use_chromosome="chromosome_embedding.table.weight" in weights,
    )


def _explained(name: str, vocabularies: Path) -> str:
    kind = SIZED_BY.get(name)
    return "" if kind is None else f" for {vocabularies / f'{kind}_vocab.json'}"


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
    chromosome_of = _read_json(folder / GENE_CHROMOSOMES_FILE)
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
    ids = _read_json(path)
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


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read ({error}). Download it again."
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
