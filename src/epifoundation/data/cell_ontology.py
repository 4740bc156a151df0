"""Cell Ontology ids of cell types by name: DISCO's names, and those of other common references."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from epifoundation.data.profiles import ATLAS_MARK

# Every id was looked up in the releases of the Cell Ontology of 2025-02-13 to 2026-03-26; labels
# are those of 2025-07-30. Names without a term that surely fits are not listed.
TABLE = "cell_ontology.tsv"


@dataclass(frozen=True)
class Term:
    """A term of the Cell Ontology: the type itself if `exact`, else the closest wider one."""

    id: str
    label: str
    exact: bool


@cache
def terms() -> dict[str, Term]:
    """Return the term of each listed name, case ignored, and of each listed term's own label.

    A name that means another type in one atlas is listed there as `<name>--<atlas>` too.
    """
    text = resources.files("epifoundation.data").joinpath(TABLE).read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines(), delimiter="\t"))
    labels = {
        row["label"].casefold(): Term(row["cell_ontology_id"], row["label"], exact=True)
        for row in rows
    }
    names = {
        row["name"].casefold(): Term(
            row["cell_ontology_id"], row["label"], exact=row["match"] == "exact"
        )
        for row in rows
    }
    return labels | names


def term_of(name: str, atlas: str | None = None) -> Term | None:
    """Return the term of a cell type as the atlas names it; None where none is known."""
    known = terms()
    plain = " ".join(str(name).split()).casefold()
    of_atlas = known.get(f"{plain}{ATLAS_MARK}{atlas.casefold()}") if atlas else None
    return of_atlas or known.get(plain)


def ontology_ids(names: Sequence[str], atlas: str | None = None) -> list[str]:
    """Return the id of each name, empty where none is known."""
    found = {name: term_of(name, atlas) for name in set(names)}
    return [term.id if (term := found[name]) else "" for name in names]


def merged_names(names: Sequence[str], atlas: str | None = None) -> list[str]:
    """Return names of which synonyms are one: the ontology's label where it means the same type.

    A type whose term is wider than itself keeps its name, so that no two types become one.
    """
    found = {name: term_of(name, atlas) for name in set(names)}
    return [term.label if (term := found[name]) and term.exact else name for name in names]
