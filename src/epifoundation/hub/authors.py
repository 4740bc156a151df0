"""The authors' checkpoint and vocabularies as a model of ours."""

import logging
from pathlib import Path

import torch
from torch import Tensor

from epifoundation.config import ModelConfig
from epifoundation.errors import ModelError
from epifoundation.hub.authors_checkpoint import read_checkpoint
from epifoundation.hub.authors_vocabularies import read_authors_vocabularies, read_json
from epifoundation.hub.directory import Design, FoundationModel, build_network
from epifoundation.hub.weights import misfits, put_weights
from epifoundation.model.authors import authors_name, rename_authors
from epifoundation.model.network import Head

logger = logging.getLogger(__name__)

AUTHORS_DROPOUT, AUTHORS_MAX_PEAKS, AUTHORS_MAX_GENES = 0.15, 11_999, 8_000

SIZES_FILE = "model_config.json"  # optional; its `heads` is the number of attention heads
PAPER_HEADS = 8
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
    found = read_checkpoint(Path(checkpoint))
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
    found = read_json(path).get("heads") if path.is_file() else None
    if isinstance(found, int) and found > 0:
        logger.info("%d attention heads (%s)", found, path)
        return found
    logger.warning(
        "%d attention heads, the paper's: the checkpoint does not say how many, and %s does not;"
        " with another number embeddings are wrong. Name it with --heads.",
        *(PAPER_HEADS, path),
    )
    return PAPER_HEADS


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
