"""The parts a page of the report is made of."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Frame:
    """A titled table of texts."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    folded: bool = False  # shown at a click: long, and not what is read first


@dataclass(frozen=True)
class Image:
    """A PNG, encoded, and as many pixels of the page as it is wide there."""

    caption: str
    data: str
    width: int


@dataclass
class Section:
    """Part of the report."""

    title: str
    notes: list[str] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    fragments: list[str] = field(default_factory=list)  # HTML of ours
    images: list[Image] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """Return the section's name in links."""
        return self.title.lower().replace(" ", "-")


def frame_of(table: pd.DataFrame, title: str, *, folded: bool = False) -> Frame:
    """Return the table as texts: numbers rounded, thousands separated."""
    rows = [[_text(value) for value in row] for row in table.to_numpy(dtype=object)]
    return Frame(title, [str(name).replace("_", " ") for name in table.columns], rows, folded)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value) or "—"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    if isinstance(value, float | np.floating):
        number = float(value)
        large = abs(number) >= 1000
        return "—" if np.isnan(number) else f"{number:,.0f}" if large else f"{number:.4g}"
    return str(value) or "—"
