"""A model with the meaning of its inputs and outputs, and how it is written to a directory."""

import json
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
import torch
from safetensors.torch import save_file

from epifoundation import __version__
from epifoundation.config import ModelConfig
from epifoundation.contracts import SCHEMA_VERSION
from epifoundation.data.store import TokenStore
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.errors import ModelError
from epifoundation.files import file_hash, whole
from epifoundation.hub.card import model_card
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
        with torch.random.fork_rng([]):  # of the CPU alone
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
            (partial / METRICS_FILE).write_text(_json(self.metrics))
            (partial / CARD_FILE).write_text(model_card(self))
            lines = (json.dumps(record) + "\n" for record in self.history)
            (partial / HISTORY_FILE).write_text("".join(lines))
            if self.cell_types:
                table = pd.DataFrame({"cell_type": self.cell_types})
                table.to_csv(partial / CELL_TYPES_FILE, sep="\t", index=False)
            hashed = [WEIGHTS_FILE, *([CELL_TYPES_FILE] if self.cell_types else [])]
            config["hashes"] = {name: file_hash(partial / name) for name in hashed}
            (partial / CONFIG_FILE).write_text(_json(config))
            shutil.copymode(partial / CONFIG_FILE, partial / WEIGHTS_FILE)  # made for us alone
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


def _may_be_replaced(folder: Path) -> bool:
    return folder.is_dir() and ((folder / CONFIG_FILE).is_file() or not any(folder.iterdir()))


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
