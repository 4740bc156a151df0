"""The model that pretraining starts from: one of random weights, or a given one that goes on."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from epifoundation.config import ModelConfig
from epifoundation.data.vocabulary import N_SPECIAL, Vocabulary
from epifoundation.errors import ModelError
from epifoundation.hub import Design, FoundationModel, from_pretrained
from epifoundation.multiome import PEAK_COLUMNS

logger = logging.getLogger(__name__)

VARIANTS = {  # use_batch, use_chromosome
    "full": (True, True),
    "no_batch": (False, True),  # the two ablations (paper Table 4)
    "no_chromosome": (True, False),
    "no_pretrain": (True, True),  # the model as it is before training, to fine-tune from
    "no_tissue": (True, True),  # trained on cells of other tissues than the data set's
}
OF_THE_NETWORK = ("n_layers", "n_heads", "d_model", "d_feedforward", "pooling", "depth_input")


def random_start(
    vocabulary: Vocabulary, model: ModelConfig, *, variant: str, seed: int
) -> FoundationModel:
    """Return the untrained model of a variant."""
    use_batch, use_chromosome = VARIANTS[variant]
    design = Design(model, ("genes",), use_batch=use_batch, use_chromosome=use_chromosome)
    return FoundationModel.build(design, vocabulary, seed=seed)


def given_start(
    path: Path | str, vocabulary: Vocabulary, model: ModelConfig, *, variant: str, seed: int
) -> FoundationModel:
    """Return the pretrained model at `path` for the ids of `vocabulary`, its weights unchanged.

    Peaks and genes must be the same; their order may be another, and so may the batches, of which
    those that the model does not know start at random. How BatchNorm counts is of the given model,
    with the lengths that it pads to; dropout and what else the weights do not decide, of `model`.
    """
    given = from_pretrained(path)
    _check_network(given, path, model, variant)
    design = Design(
        _settings(given, path, model),
        ("genes",),
        use_batch=given.design.use_batch,
        use_chromosome=given.design.use_chromosome,
    )
    started = FoundationModel.build(design, vocabulary, seed=seed)
    rows = _rows(given.vocabulary, vocabulary, path)
    _take(started, given, rows)
    n_new = int((rows["batch"] < 0).sum()) if design.use_batch else 0
    logger.info(
        "going on from %s (%s); batches new to it: %d",
        path,
        ", ".join(f"{name} {value}" for name, value in given.told.items()) or "not said",
        n_new,
    )
    return started


def _settings(given: FoundationModel, path: Path | str, model: ModelConfig) -> ModelConfig:
    before = given.design.config
    kept: dict[str, str | int] = {"batch_norm": before.batch_norm}
    if before.batch_norm == "padded":
        kept |= {"max_peaks": before.max_peaks, "max_genes": before.max_genes}
    if other := [f"{key} {value}" for key, value in kept.items() if getattr(model, key) != value]:
        logger.info(
            "as %s was trained, not as the section `model` says: %s", path, ", ".join(other)
        )
    return model.model_copy(update=kept)


def _check_network(
    given: FoundationModel, path: Path | str, model: ModelConfig, variant: str
) -> None:
    design, hint = given.design, "Or set pretrain.start_from: null."
    if "genes" not in design.heads:
        message = (
            f"{path} predicts {', '.join(design.heads).replace('_', ' ')}, and no genes: it was"
            f" fine-tuned. Give the pretrained model that it was made from. {hint}"
        )
        raise ModelError(message)
    if variant != "full" and (design.use_batch, design.use_chromosome) != VARIANTS[variant]:
        message = (
            f"{path} is no model of the variant {variant} (batch embedding: {design.use_batch},"
            f" chromosome embedding: {design.use_chromosome}). Pretrain the full model alone"
            f" (benchmark.ablations: []). {hint}"
        )
        raise ModelError(message)
    differ = [
        f"{name}: {theirs}, not {ours}"
        for name in OF_THE_NETWORK
        if (theirs := getattr(design.config, name)) != (ours := getattr(model, name))
    ]
    if differ:
        message = (
            f"{path} is a network of another size than the section `model` says"
            f" ({'; '.join(differ)}). Write its sizes there. {hint}"
        )
        raise ModelError(message)


def _rows(theirs: Vocabulary, ours: Vocabulary, path: Path | str) -> dict[str, NDArray[np.int64]]:
    """Return the row in their tables of each id of ours, special ones included; -1: none."""
    peaks = _same(
        theirs.peaks[list(PEAK_COLUMNS)],
        ours.peaks[list(PEAK_COLUMNS)],
        f"{path}: its peaks are not those of this atlas",
        f"Call no peaks, but take the model's (peaks.frozen: {path}/peaks.bed.gz)",
    )
    genes = _same(
        theirs.genes[["gene_name", "chrom"]],
        ours.genes[["gene_name", "chrom"]],
        f"{path}: its genes are not those of this atlas",
        "Take the gene annotation that the model was made with (section `reference`)",
    )
    chromosomes = pd.Index(theirs.chromosomes).get_indexer(pd.Index(ours.chromosomes))
    assert (chromosomes >= 0).all(), "those of the same peaks and genes"
    special = np.arange(N_SPECIAL)
    named = {"peak": peaks, "gene": genes, "chromosome": chromosomes}
    rows = {kind: np.concatenate([special, N_SPECIAL + found]) for kind, found in named.items()}
    rows["batch"] = np.asarray(pd.Index(theirs.batches).get_indexer(pd.Index(ours.batches)))
    return rows


def _same(theirs: pd.DataFrame, ours: pd.DataFrame, said: str, hint: str) -> NDArray[np.int64]:
    """Return where each of ours is among theirs; both must have all of the other's."""
    known, asked = pd.MultiIndex.from_frame(theirs), pd.MultiIndex.from_frame(ours)
    found = np.asarray(known.get_indexer(asked), np.int64)
    unknown, lacking = asked[found < 0], known.delete(found[found >= 0])
    told = [
        f"{len(few):,} of {n:,} {what} (first: {' '.join(map(str, few[0]))})"
        for what, few, n in (
            ("of the atlas are unknown to it", unknown, len(asked)),
            ("of its own are not in the atlas", lacking, len(known)),
        )
        if len(few)
    ]
    if told:
        message = f"{said}: {'; '.join(told)}. {hint}, or set pretrain.start_from: null."
        raise ModelError(message)
    return found


@torch.no_grad()
def _take(
    started: FoundationModel, given: FoundationModel, rows: Mapping[str, NDArray[np.int64]]
) -> None:
    """Copy the given weights, rows of tables to where their ids are now."""
    learned = given.network.state_dict()
    for name, tensor in started.network.state_dict().items():
        kind, _, rest = name.partition("_embedding.")
        if rest == "table.weight":
            known = torch.from_numpy(np.flatnonzero(rows[kind] >= 0))
            tensor[known] = learned[name][torch.from_numpy(rows[kind])[known]]
        else:
            tensor.copy_(learned[name])
