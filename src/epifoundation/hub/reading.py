"""Reading a model directory; whatever is missing or damaged is said in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from epifoundation import __version__
from epifoundation.config import ModelConfig
from epifoundation.contracts import SCHEMA_VERSION
from epifoundation.data.vocabulary import Vocabulary
from epifoundation.errors import ContractError, ModelError, in_a_line
from epifoundation.files import file_hash
from epifoundation.hub.directory import (
    CELL_TYPES_FILE,
    CONFIG_FILE,
    HISTORY_FILE,
    METRICS_FILE,
    WEIGHTS_FILE,
    Design,
    FoundationModel,
    build_network,
)
from epifoundation.hub.remote import local_folder
from epifoundation.hub.weights import misfits, put_weights
from epifoundation.model.network import EpiFoundation

COPY_AGAIN = "Copy the model again, as a whole folder."
Read = TypeVar("Read")


def from_pretrained(path_or_repo_id: Path | str) -> FoundationModel:
    """Load a model directory; its network is in eval mode, on the CPU.

    A name `owner/name` that is no folder here is fetched from the Hugging Face hub, if its client
    is installed.
    """
    folder = local_folder(path_or_repo_id)
    config = _read_config(folder)
    vocabulary = _read_vocabulary(folder, config.get("vocabulary_hash", "of no name"))
    design = _design_of(config, folder)
    cell_types = _read_cell_types(folder, design)
    hashes = config.get("hashes", {})
    _check_hash(folder / CELL_TYPES_FILE, hashes)
    network = _read_network(folder / WEIGHTS_FILE, design, vocabulary, len(cell_types))
    _check_hash(folder / WEIGHTS_FILE, hashes)
    return FoundationModel(
        network.eval(),
        design,
        vocabulary,
        cell_types,
        told=config.get("told", {}),
        metrics=_beside(folder / METRICS_FILE, _metrics_of, {}),
        history=_beside(folder / HISTORY_FILE, _history_of, []),
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    if not path.is_file():
        message = (
            f"{folder} is no model directory: it has no {CONFIG_FILE}. Give the folder that"
            " pretrain, finetune or import-weights wrote."
        )
        raise ModelError(message)
    try:
        config: dict[str, Any] = _an_object(path.read_text())
        for key in ("told", "hashes"):
            if not isinstance(config.get(key, {}), dict):
                message = f"`{key}` holds no names and values"
                raise ValueError(message)  # noqa: TRY004
        if "schema_version" not in config:
            message = "it names no schema_version"
            raise ValueError(message)
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read, or is damaged ({in_a_line(error)}). {COPY_AGAIN}"
        raise ModelError(message) from error
    found = config.get("schema_version")
    if found != SCHEMA_VERSION:
        message = (
            f"{folder} has schema version {found}, this package reads {SCHEMA_VERSION}; it was"
            f" made by epifoundation {config.get('package_version')}, which can read it."
        )
        raise ModelError(message)
    return config


def _design_of(config: dict[str, Any], folder: Path) -> Design:
    try:
        return Design(
            config=ModelConfig(**config["model"]),
            heads=tuple(config["heads"]),
            use_batch=config["use_batch"],
            use_chromosome=config["use_chromosome"],
        )
    except (KeyError, TypeError, ValidationError) as error:
        if isinstance(error, ValidationError):
            mistakes = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            reason = "; ".join(mistakes)
        else:
            reason = f"{type(error).__name__} {error}"
        message = (
            f"{folder / CONFIG_FILE} does not describe a model this package can build ({reason})."
            f" It was written by epifoundation {config.get('package_version')}; this is"
            f" {__version__}. Train or import it again."
        )
        raise ModelError(message) from error


def _read_vocabulary(folder: Path, expected_hash: str) -> Vocabulary:
    try:
        vocabulary = Vocabulary.read(folder, remedy=COPY_AGAIN)
    except ContractError as error:
        raise ModelError(str(error)) from error
    if vocabulary.hash != expected_hash:
        message = (
            f"{folder}: the weights belong to vocabulary {expected_hash}, but its files are of"
            f" vocabulary {vocabulary.hash}. {COPY_AGAIN}"
        )
        raise ModelError(message)
    return vocabulary


def _read_cell_types(folder: Path, design: Design) -> tuple[str, ...]:
    path = folder / CELL_TYPES_FILE
    if "cell_types" not in design.heads:
        return ()
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        return tuple(table["cell_type"])
    except (OSError, ValueError, KeyError) as error:
        reason = "no column cell_type" if isinstance(error, KeyError) else in_a_line(error)
        message = f"{path}, which names the types, cannot be read ({reason}). {COPY_AGAIN}"
        raise ModelError(message) from error


def _read_network(
    path: Path, design: Design, vocabulary: Vocabulary, n_cell_types: int
) -> EpiFoundation:
    with torch.device("meta"):  # nothing is drawn that the file would overwrite
        network = build_network(design, vocabulary, n_cell_types=n_cell_types)
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        message = (
            f"{path} cannot be loaded ({in_a_line(error)}): it is missing, cut short or damaged."
            f" {COPY_AGAIN}"
        )
        raise ModelError(message) from error
    if clauses := misfits(network, weights):
        message = (
            f"{path} cannot be loaded into the network its {CONFIG_FILE} describes:"
            f" {'; '.join(clauses)}. {COPY_AGAIN}"
        )
        raise ModelError(message)
    put_weights(network, weights)
    return network


def _check_hash(path: Path, hashes: dict[str, str]) -> None:
    """Refuse a file that is whole but not as it was written; older models have no hashes."""
    if path.name in hashes and file_hash(path) != hashes[path.name]:
        message = f"{path} is damaged: it is not what was saved. {COPY_AGAIN}"
        raise ModelError(message)


def _beside(path: Path, read: Callable[[str], Read], absent: Read) -> Read:
    """Return what a file says of training, which the model works without."""
    try:
        return read(path.read_text()) if path.exists() else absent
    except (OSError, ValueError) as error:
        message = (
            f"{path} cannot be read, or is damaged ({in_a_line(error)}). It only tells how training"
            " went: delete it, or copy the model again."
        )
        raise ModelError(message) from error


def _metrics_of(text: str) -> dict[str, float]:
    return _an_object(text)


def _history_of(text: str) -> list[dict[str, float]]:
    return [_an_object(line) for line in text.splitlines()]


def _an_object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        message = f"no names and values, but {type(found).__name__}"
        raise ValueError(message)  # noqa: TRY004
    return found
