"""What several commands share: their arguments, and the values of the paper's run."""

import argparse
import gzip
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml

from epifoundation.config import Section
from epifoundation.errors import DataError

Arguments = argparse.Namespace
SomeSection = TypeVar("SomeSection", bound=Section)


class Add(Protocol):
    """Adds a command: its name, what it runs, and the arguments of an example."""

    def __call__(
        self, name: str, run: Callable[[Arguments], None], example: str
    ) -> argparse.ArgumentParser: ...


def add_cells(command: argparse.ArgumentParser) -> None:
    """Add the fragments, the barcodes and the output that counting commands need."""
    command.add_argument("--fragments", type=Path, required=True, help="fragments.tsv.gz")
    command.add_argument("--barcodes", type=Path, required=True, help="one barcode a line")
    command.add_argument("--output", type=Path, required=True, help="file to write")


def lines_of(path: Path) -> list[str]:
    """Return the barcodes of a text file, gzipped or not."""
    compressed = path.suffix == ".gz"
    text = gzip.decompress(path.read_bytes()).decode() if compressed else path.read_text()
    lines = [line for line in text.splitlines() if line]
    if not lines:
        message = f"{path} holds no barcode. Give one barcode a line."
        raise DataError(message)
    return lines


def paper_values(section: str) -> dict[str, Any]:
    """Return a section of the config.yaml that is packaged, a link to the workflow's."""
    text = resources.files("epifoundation").joinpath("config.yaml").read_text()
    values: dict[str, Any] = yaml.safe_load(text)[section]
    return values


def paper_section(kind: type[SomeSection], section: str, **changed: object) -> SomeSection:
    """Return that section with some values changed."""
    return kind.model_validate({**paper_values(section), **changed})
