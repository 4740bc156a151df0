"""What several commands share: their arguments, and the values of the paper's run."""

import argparse
import gzip
import logging
import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path, PosixPath
from typing import Any, Protocol, TypeVar

import yaml
from pydantic import ValidationError

from epifoundation.config import Section, did_you_mean
from epifoundation.data.gzipped import open_bytes
from epifoundation.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

HEADERS = ("barcode", "barcodes", "cell", "cells", "cell_id", "cb")
Arguments = argparse.Namespace
SomeSection = TypeVar("SomeSection", bound=Section)


class OutputFile(PosixPath):
    """A file that a command writes; `check_outputs` refuses to put it over a folder or an input."""


def check_outputs(parsed: Arguments) -> None:
    """Refuse outputs that are folders, inputs, or one another, before any work is done."""
    paths = [
        path
        for value in vars(parsed).values()
        for path in (value if isinstance(value, list) else [value])
        if isinstance(path, PosixPath)
    ]
    seen = {path.resolve() for path in paths if not isinstance(path, OutputFile)}
    for path in paths:
        if not isinstance(path, OutputFile):
            continue
        if path.is_dir():
            message = f"{path} is a folder. Name a file to write."
            raise ConfigError(message)
        if path.resolve() in seen:
            message = f"{path} would be written over a file of this command. Name another."
            raise ConfigError(message)
        seen.add(path.resolve())


def check_suffix(path: Path, suffix: str) -> None:
    """Refuse to write a file under the suffix of another format, before any work is done."""
    if path.suffix != suffix:
        message = f"{path}: what is written is {suffix}. Name the output so."
        raise ConfigError(message)


def positive(text: str) -> int:
    """Return a whole number above zero, as argparse reads it."""
    number = int(text)
    if number < 1:
        message = f"{number} is not above zero"
        raise argparse.ArgumentTypeError(message)
    return number


def not_negative(text: str) -> int:
    """Return a whole number, zero or above, as argparse reads it."""
    number = int(text)
    if number < 0:
        message = f"{number} is below zero"
        raise argparse.ArgumentTypeError(message)
    return number


class Add(Protocol):
    """Adds a command: its name, what it runs, and the arguments of an example."""

    def __call__(
        self, name: str, run: Callable[[Arguments], None], example: str
    ) -> argparse.ArgumentParser: ...


def add_cells(command: argparse.ArgumentParser) -> None:
    """Add the fragments, the barcodes and the output that counting commands need."""
    command.add_argument(
        "--fragments",
        type=Path,
        nargs="+",
        required=True,
        help="one or many fragments.tsv.gz of the same barcodes, counted as one pool",
    )
    command.add_argument("--barcodes", type=Path, required=True, help="one barcode a line")
    command.add_argument("--output", type=OutputFile, required=True, help="file to write")


def add_peaks(command: argparse.ArgumentParser, text: str, *, required: bool) -> None:
    """Add the peaks that fragments are counted in, and what both are checked against."""
    command.add_argument("--peaks", type=Path, required=required, help=text)
    command.add_argument(
        "--chrom-sizes", type=Path, help="names and lengths (or .fai), checked against"
    )


def lines_of(path: Path) -> list[str]:
    """Return the barcodes of a text file, gzipped or not, of which none may repeat."""
    try:
        with open_bytes(path) as handle:
            text = handle.read().decode("utf-8-sig")
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        message = f"{path} is not a list of barcodes ({error}). Give one barcode a line."
        raise DataError(message) from error
    lines = [line.strip().strip("\"'") for line in text.splitlines() if line.strip()]
    if lines and lines[0].lower() in HEADERS:
        logger.info("%s: its first line, %s, is taken as the name of the column", path, lines[0])
        del lines[0]
    tables = [line for line in lines if re.search(r"[\s,;]", line)]
    if tables:
        message = (
            f"{path}: {len(tables):,} of its {len(lines):,} lines hold more than a barcode (first:"
            f" {tables[0][:80]!r}). Give one barcode a line, such as the first column of a table."
        )
        raise DataError(message)
    if not lines:
        message = f"{path} holds no barcode. Give one barcode a line."
        raise DataError(message)
    repeated = [line for line, n in Counter(lines).items() if n > 1]
    if repeated:
        message = (
            f"{path}: {len(repeated):,} of its {len(lines):,} barcodes are listed more than once"
            f" (first: {repeated[0]}). Give each barcode once."
        )
        raise DataError(message)
    return lines


def paper_values(section: str) -> dict[str, Any]:
    """Return a section of the config.yaml that is packaged, a link to the workflow's."""
    text = resources.files("epifoundation").joinpath("config.yaml").read_text()
    values: dict[str, Any] = yaml.safe_load(text)[section]
    return values


def paper_section(kind: type[SomeSection], section: str, **changed: object) -> SomeSection:
    """Return that section with some values changed."""
    return checked(kind, section, {**paper_values(section), **changed})


def checked(kind: type[SomeSection], section: str, values: Mapping[str, object]) -> SomeSection:
    """Return the section, or say in one line which values it cannot have."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        mistakes = [
            f"{'.'.join(map(str, (section, *e['loc'])))}: {e['msg']}"
            + (f" (got {e['input']!r})" if e["loc"] else "")
            + (did_you_mean(kind, e["loc"]) if e["type"] == "extra_forbidden" else "")
            for e in error.errors()
        ]
        message = f"{'; '.join(mistakes)}. Change the option of that name, or leave it out."
        raise ConfigError(message) from None
