"""Writing and reading a model directory."""

import json
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from epifoundation import __version__
from epifoundation.config import ModelConfig
from epifoundation.contracts import SCHEMA_VERSION
from epifoundation.data.store import TokenStore
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.errors import ContractError, ModelError
from epifoundation.files import whole
from epifoundation.hub.card import model_card
from epifoundation.hub.remote import local_folder
from epifoundation.hub.weights import misfits, put_weights
from epifoundation.model.network import EpiFoundation, Head, Sizes

if TYPE_CHECKING:
    import anndata as ad
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

CONFIG_FILE, WEIGHTS_FILE, CELL_TYPES_FILE = "config.json", "model.safetensors", "cell_types.tsv"
HISTORY_FILE, METRICS_FILE, CARD_FILE = "history.jsonl", "metrics.json", "README.md"


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

    def embed(self, adata: "ad.AnnData", **options: Any) -> "NDArray[np.float32]":
        """Return the embedding of each cell of cells × peaks, (n_cells, d_model).

        `adata` may be opened with `backed="r"`; it is not changed. Its columns are peaks of the
        model, by name or by `var` columns chrom, start, end. For the options see
        `epifoundation.inference.matrix.embed_matrix`, which this calls.
        """
        from epifoundation.inference.matrix import embed_matrix

        return embed_matrix(self, adata, **options)

    def save(self, directory: Path | str) -> None:
        """Write the model directory, whole or not at all; an older model there is replaced.

        Raises ModelError where `directory` holds other things than a model.
        """
        folder = Path(directory)
        if folder.exists() and not _may_be_replaced(folder):
            message = f"{folder} exists and is no model directory. Name another, or empty it."
            raise ModelError(message)
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
            shutil.copymode(partial / CONFIG_FILE, partial / WEIGHTS_FILE)  # made for us alone
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


def from_pretrained(path_or_repo_id: Path | str) -> FoundationModel:
    """Load a model directory; its network is in eval mode, on the CPU.

    A name `owner/name` that is no folder here is fetched from the Hugging Face hub, if its client
    is installed.
    """
    folder = local_folder(path_or_repo_id)
    config = _read_config(folder)
    vocabulary = _read_vocabulary(folder, config.get("vocabulary_hash", "of no name"))
    cell_types = _read_cell_types(folder)
    try:
        design = Design(
            config=ModelConfig(**config["model"]),
            heads=tuple(config["heads"]),
            use_batch=config["use_batch"],
            use_chromosome=config["use_chromosome"],
        )
    except (KeyError, TypeError, ValidationError) as error:
        message = (
            f"{folder / CONFIG_FILE} does not describe a model this package can build"
            f" ({_in_a_line(error)}). It was written by epifoundation"
            f" {config.get('package_version')}; this is {__version__}. Train or import it again."
        )
        raise ModelError(message) from error
    network = _read_network(folder / WEIGHTS_FILE, design, vocabulary, len(cell_types))
    history, metrics = folder / HISTORY_FILE, folder / METRICS_FILE
    return FoundationModel(
        network.eval(),
        design,
        vocabulary,
        cell_types,
        told=config.get("told", {}),
        metrics=json.loads(metrics.read_text()) if metrics.exists() else {},
        history=[json.loads(line) for line in history.read_text().splitlines()]
        if history.exists()
        else [],
    )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text())
    except (OSError, ValueError) as error:
        message = (
            f"{folder} is no model directory ({error}). Give the folder that pretrain, finetune or"
            " import-weights wrote."
        )
        raise ModelError(message) from error
    found = config.get("schema_version")
    if found != SCHEMA_VERSION:
        message = (
            f"{folder} has schema version {found}, this package reads {SCHEMA_VERSION}; it was"
            f" made by epifoundation {config.get('package_version')}, which can read it."
        )
        raise ModelError(message)
    return config


def _read_vocabulary(folder: Path, expected_hash: str) -> Vocabulary:
    try:
        vocabulary = Vocabulary.read(folder)
    except ContractError as error:
        message = f"{error} Or, if it is a model, copy the whole folder again."
        raise ModelError(message) from error
    if vocabulary.hash != expected_hash:
        message = (
            f"{folder}: the weights belong to vocabulary {expected_hash}, but its files are of"
            f" vocabulary {vocabulary.hash}. Copy the model again, as a whole folder."
        )
        raise ModelError(message)
    return vocabulary


def _read_cell_types(folder: Path) -> tuple[str, ...]:
    path = folder / CELL_TYPES_FILE
    if not path.exists():
        return ()
    return tuple(pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)["cell_type"])


def _read_network(
    path: Path, design: Design, vocabulary: Vocabulary, n_cell_types: int
) -> EpiFoundation:
    with torch.device("meta"):  # nothing is drawn that the file would overwrite
        network = build_network(design, vocabulary, n_cell_types=n_cell_types)
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        message = (
            f"{path} cannot be loaded ({error}): it is missing, cut short or damaged. Copy the"
            " model again, or train it again."
        )
        raise ModelError(message) from error
    if clauses := misfits(network, weights):
        message = (
            f"{path} cannot be loaded into the network its {CONFIG_FILE} describes:"
            f" {'; '.join(clauses)}. Copy the model again, as a whole folder."
        )
        raise ModelError(message)
    put_weights(network, weights)
    return network


def _in_a_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return f"{type(error).__name__} {error}"


def _may_be_replaced(folder: Path) -> bool:
    return folder.is_dir() and ((folder / CONFIG_FILE).is_file() or not any(folder.iterdir()))


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
