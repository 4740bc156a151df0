"""The model directory: everything needed to use a model, in files anyone can read."""

import json
import logging
import pickle
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from epifoundation import __version__
from epifoundation.config import ModelConfig
from epifoundation.contracts import SCHEMA_VERSION
from epifoundation.data.store import TokenStore
from epifoundation.data.vocabulary import N_SPECIAL, Vocabulary
from epifoundation.errors import ModelError
from epifoundation.files import whole
from epifoundation.model.authors import rename_authors
from epifoundation.model.network import EpiFoundation, Head, Sizes

logger = logging.getLogger(__name__)

CONFIG_FILE, WEIGHTS_FILE, CELL_TYPES_FILE = "config.json", "model.safetensors", "cell_types.tsv"
HISTORY_FILE, METRICS_FILE, CARD_FILE = "history.jsonl", "metrics.json", "README.md"

AUTHORS_DROPOUT, AUTHORS_MAX_PEAKS, AUTHORS_MAX_GENES = 0.15, 11_999, 8_000


@dataclass(frozen=True)
class Design:
    """What of the network there is; with the vocabulary it determines every shape."""

    config: ModelConfig
    heads: tuple[Head, ...]
    use_batch: bool = True
    use_chromosome: bool = True


@dataclass(frozen=True, eq=False)
class FoundationModel:
    """A network with the meaning of its inputs and outputs.

    `cell_types` names the outputs of the cell-type head; `told` says how the model was made (stage,
    data set, seed, …) and `history` how training went, one record per epoch.
    """

    network: EpiFoundation
    design: Design
    vocabulary: Vocabulary
    cell_types: tuple[str, ...] = ()
    told: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def build(
        cls, design: Design, vocabulary: Vocabulary, *, cell_types: tuple[str, ...] = (), seed: int
    ) -> Self:
        """Return an untrained model; its initial weights follow from `seed`."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = build_network(design, vocabulary, n_cell_types=len(cell_types))
        return cls(network, design, vocabulary, cell_types)

    def check_store(self, store: TokenStore) -> None:
        """Refuse cells tokenised with another vocabulary."""
        if store.vocabulary_hash != self.vocabulary.hash:
            message = (
                f"the cells were tokenised with vocabulary {store.vocabulary_hash}, the model reads"
                f" vocabulary {self.vocabulary.hash}: its ids mean other peaks and genes. Tokenise"
                " them with the peaks.bed.gz and genes.tsv of the model's folder."
            )
            raise ModelError(message)

    def save(self, directory: Path | str) -> None:
        """Write the model directory, whole or not at all."""
        config = {
            "schema_version": SCHEMA_VERSION,
            "package_version": __version__,
            "vocabulary_hash": self.vocabulary.hash,
            "model": self.design.config.model_dump(mode="json"),
            "heads": list(self.design.heads),
            "use_batch": self.design.use_batch,
            "use_chromosome": self.design.use_chromosome,
            "told": self.told,
        }
        weights = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        with whole(directory) as partial:
            partial.mkdir()
            self.vocabulary.write_files(partial)
            save_file(weights, partial / WEIGHTS_FILE)
            (partial / CONFIG_FILE).write_text(_json(config))
            (partial / METRICS_FILE).write_text(_json(self.metrics))
            (partial / CARD_FILE).write_text(model_card(self))
            lines = (json.dumps(record) + "\n" for record in self.history)
            (partial / HISTORY_FILE).write_text("".join(lines))
            if self.cell_types:
                table = pd.DataFrame({"cell_type": self.cell_types})
                table.to_csv(partial / CELL_TYPES_FILE, sep="\t", index=False)
        logger.info("saved %s", directory)


def build_network(
    design: Design, vocabulary: Vocabulary, *, n_cell_types: int = 0
) -> EpiFoundation:
    """Return a network for the vocabulary, initialised from torch's current generator."""
    return EpiFoundation(
        design.config,
        Sizes(
            n_peaks=vocabulary.n_peaks,
            n_genes=vocabulary.n_genes,
            n_chromosomes=len(vocabulary.chromosomes),
            n_batches=len(vocabulary.batches),
            n_cell_types=n_cell_types,
        ),
        peak_chromosomes=torch.from_numpy(vocabulary.peak_chromosomes()),
        gene_chromosomes=torch.from_numpy(vocabulary.gene_chromosomes()),
        heads=design.heads,
        use_batch=design.use_batch,
        use_chromosome=design.use_chromosome,
    )


def from_pretrained(path: Path | str) -> FoundationModel:
    """Load a model directory; its network is in eval mode, on the CPU."""
    folder = Path(path)
    config = _read_config(folder)
    vocabulary = Vocabulary.read(folder)
    if vocabulary.hash != config["vocabulary_hash"]:
        message = (
            f"{folder}: the weights belong to vocabulary {config['vocabulary_hash']}, but its files"
            f" are of vocabulary {vocabulary.hash}. Copy the model again, as a whole folder."
        )
        raise ModelError(message)
    types_file = folder / CELL_TYPES_FILE
    cell_types: tuple[str, ...] = ()
    if types_file.exists():
        table = pd.read_csv(types_file, sep="\t", dtype=str, keep_default_na=False)
        cell_types = tuple(table["cell_type"])
    design = Design(
        config=ModelConfig(**config["model"]),
        heads=tuple(config["heads"]),
        use_batch=config["use_batch"],
        use_chromosome=config["use_chromosome"],
    )
    network = build_network(design, vocabulary, n_cell_types=len(cell_types))
    try:
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, RuntimeError, SafetensorError) as error:
        message = f"{folder / WEIGHTS_FILE} cannot be loaded ({error}). Copy or train it again."
        raise ModelError(message) from error
    history = [json.loads(line) for line in (folder / HISTORY_FILE).read_text().splitlines()]
    metrics = json.loads((folder / METRICS_FILE).read_text())
    network.eval()
    return FoundationModel(
        network, design, vocabulary, cell_types, config["told"], metrics, history
    )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text())
    except (OSError, ValueError) as error:
        message = f"{folder} is no model directory ({error}). Rerun pretrain, or check the path."
        raise ModelError(message) from error
    if config.get("schema_version") != SCHEMA_VERSION:
        message = (
            f"{folder} has schema version {config.get('schema_version')}, this package reads"
            f" {SCHEMA_VERSION}; it was made by epifoundation {config.get('package_version')},"
            " which can read it."
        )
        raise ModelError(message)
    return config


def import_authors(
    checkpoint: Path | str, vocabularies: Path | str, *, n_heads: int
) -> FoundationModel:
    """Return the authors' pretrained model from their checkpoint and vocabulary JSON files.

    `vocabularies` holds atac_vocab.json, rna_vocab.json, chr_vocab.json, batch_vocab.json,
    cell_vocab.json and gene2chr.json. The checkpoint does not say how many heads attention has.
    Only tensors are read from it, no code.
    """
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
    except (OSError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        message = f"{checkpoint} is no checkpoint of the authors' format ({error})."
        raise ModelError(message) from error
    vocabulary, cell_types = read_authors_vocabularies(Path(vocabularies))
    weights = rename_authors(state)
    has_batches = "batch_embedding.table.weight" in weights
    d_feedforward, d_model = weights["blocks.0.linear1.weight"].shape
    n_layers = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    config = ModelConfig(
        n_layers=n_layers,
        n_heads=n_heads,
        d_model=d_model,
        d_feedforward=d_feedforward,
        dropout=AUTHORS_DROPOUT,
        max_peaks=AUTHORS_MAX_PEAKS,
        max_genes=AUTHORS_MAX_GENES,
        embedding_std=1.0,
    )
    heads: tuple[Head, ...] = ("genes", "cell_types")
    if "expression_decoder.fc1.weight" in weights:
        heads = (*heads, "expression")
    design = Design(config, heads, use_batch=has_batches)
    model = FoundationModel.build(design, vocabulary, cell_types=cell_types, seed=0)
    try:
        model.network.load_state_dict(weights)
    except RuntimeError as error:
        message = f"{checkpoint} does not fit the vocabularies in {vocabularies}: {error}"
        raise ModelError(message) from error
    model.network.eval()
    return replace(model, told={"stage": "pretrain", "source": Path(checkpoint).name})


def read_authors_vocabularies(folder: Path) -> tuple[Vocabulary, tuple[str, ...]]:
    """Return the authors' vocabularies as ours, and their cell types.

    Their peaks are named by Signac, `chr-start-end` with 1-based closed coordinates; the name is
    kept. Their genes have no ids.
    """
    names = {}
    for kind in ("atac", "rna", "chr", "batch", "cell"):
        path = folder / f"{kind}_vocab.json"
        try:
            ids: dict[str, int] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            message = f"{path} cannot be read ({error}); the authors' vocabularies are five files"
            raise ModelError(message) from error
        ordered = sorted(ids, key=ids.__getitem__)
        if [ids[name] for name in ordered] != list(range(len(ids))):
            message = f"{path}: ids are not 0 to {len(ids) - 1}; is it the file of this checkpoint?"
            raise ModelError(message)
        names[kind] = ordered if kind in ("batch", "cell") else ordered[N_SPECIAL:]
    chromosome_of: dict[str, str] = json.loads((folder / "gene2chr.json").read_text())
    parts = [name.rsplit("-", 2) for name in names["atac"]]
    peaks = pd.DataFrame(
        {
            "chrom": [chrom for chrom, _, _ in parts],
            "start": [int(start) - 1 for _, start, _ in parts],
            "end": [int(end) for _, _, end in parts],
            "name": names["atac"],
        }
    )
    genes = pd.DataFrame(
        {
            "gene_name": names["rna"],
            "gene_id": "",
            "chrom": [chromosome_of[gene] for gene in names["rna"]],
        }
    )
    vocabulary = Vocabulary(peaks, genes, tuple(names["chr"]), tuple(names["batch"]))
    return vocabulary, tuple(names["cell"])


def model_card(model: FoundationModel) -> str:
    """Return the README of a model directory."""
    config, vocabulary = model.design.config, model.vocabulary
    n_parameters = sum(parameter.numel() for parameter in model.network.parameters())
    made = "\n".join(f"- {name}: {value}" for name, value in model.told.items())
    metrics = "\n".join(f"- {name}: {value:.4g}" for name, value in model.metrics.items())
    return f"""# EpiFoundation model

Reads the accessible peaks of a cell, gives an embedding of the cell.

## Made by
{made or "- not said"}
- package: epifoundation {__version__}

## Size
- {n_parameters:,} parameters: {config.n_layers} blocks, width {config.d_model}, \
{config.n_heads} heads
- {vocabulary.n_peaks:,} peaks (`peaks.bed.gz`), {vocabulary.n_genes:,} genes (`genes.tsv`), \
{len(vocabulary.chromosomes)} chromosomes, {len(vocabulary.batches)} batches
- heads: {", ".join(model.design.heads)}; {len(model.cell_types)} cell types
- batch embedding in pretraining: {model.design.use_batch}; chromosome embedding: \
{model.design.use_chromosome}

## Validation
{metrics or "- none recorded"}

## Use
```python
import epifoundation

model = epifoundation.from_pretrained("path/to/this/folder")
```
Cells must be tokenised with this folder's vocabulary ({vocabulary.hash}).
"""


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
