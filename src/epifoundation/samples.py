"""The sample sheet: which libraries, in which atlas, in which role."""

import csv
import logging
import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Self

from epifoundation.disco_atlases import DISCO_ATLASES, atlas_advice, atlases_in
from epifoundation.errors import ConfigError

logger = logging.getLogger(__name__)

ATLAS_DATASET = "ALLTissue"  # the paper's name for the held-out cells of the atlas itself
COLUMNS = (
    "sample",  # one library; letters, digits, `_`, `-`, `.`
    "atlas",  # atlas it belongs to; own vocabulary, pretraining and table rows
    "role",  # atlas | evaluation
    "dataset",  # name of the evaluation set; empty for atlas samples
    "tissue",
    "batch",  # experimental batch; empty: `obs["batch"]` of the matrices, else the sample
    "donor",  # empty: unknown
    "disco_atlas",  # DISCO atlas whose profiles label the clusters, named as in the profiles
    "entry",  # fastq | fragments | matrices
    "source",  # of accessions: GEO | ENCODE | catalogue
    "rna",  # accession, or URL/path of counts (10x .h5, .h5ad; .h5mu holds both)
    "atac",  # accession, or URL/path of fragments.tsv.gz or a peak matrix .h5ad
    "caution",  # what a reader of the results must know; `assumed` marks a choice of ours
)
# Columns a sheet may have besides: they change no result.
KNOWN = (
    "series",  # the study that holds the accessions
    "pair",  # the pair's name in the authors' files
    "evidence",  # who says so: A the authors' code, B a third party's catalogue
    "reads_gb",  # size of the reads where known beforehand, for `snakemake plan`
)
TYPED = (".h5ad", ".h5mu")  # formats whose cells can have a cell_type
COUNTS_FORMATS, FRAGMENTS_FORMATS = (".h5", *TYPED), (".tsv", ".tsv.gz", ".bed", ".bed.gz")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
SOURCES = ("", "GEO", "SRA", "ENCODE", "catalogue", "URL")
ARCHIVED = r"GS[EM]\d+|[SED]R[XR]\d+|EGA[A-Z]\d+|phs\d+.*"  # what is controlled is told by resolve
ACCESSION = {
    "GEO": re.compile(ARCHIVED),
    "SRA": re.compile(ARCHIVED),
    "ENCODE": re.compile(r"ENCSR\w+"),
    "URL": re.compile(r"\S+(/\S+)+(\s+\S+(/\S+)+)*"),
}
EXAMPLE = {
    "GEO": "GSM5828468",
    "SRA": "SRR17693278",
    "ENCODE": "ENCSR128ZLB",
    "URL": "https://host/a_R1.fastq.gz https://host/a_R2.fastq.gz",
}
MATRIX_URL = re.compile(r"\w+://[^?#]*matrix\.mtx(\.gz)?([?#].*)?", re.IGNORECASE)
NUMBER = re.compile(r"\d+(\.\d+)?")
ALLOWED = {
    "role": ("atlas", "evaluation"),
    "entry": ("fastq", "fragments", "matrices"),
    "source": SOURCES,
    "evidence": ("", "A", "B", "A+B"),
}


@dataclass(frozen=True)
class Sample:
    """One row of the sheet; see COLUMNS and KNOWN."""

    sample: str
    atlas: str
    role: str
    dataset: str
    tissue: str
    batch: str
    donor: str
    disco_atlas: str
    entry: str
    source: str
    rna: str
    atac: str
    caution: str
    series: str = ""
    pair: str = ""
    evidence: str = ""
    reads_gb: str = ""

    @property
    def assumed(self) -> bool:
        """Whether something of the sample is a choice of ours."""
        return "assumed" in self.caution


@dataclass(frozen=True)
class SampleSheet:
    """All samples, in the order of the file."""

    rows: tuple[Sample, ...]

    @classmethod
    def read(
        cls, path: Path | str, *, labels: str, root: Path, profiles: str | None = None
    ) -> Self:
        """Read and check the sheet; all mistakes are reported at once.

        A relative `path` that does not exist here is taken from `root` (the checkout). `labels` is
        the configured label source: `disco_wnn` and `disco_rna` need a DISCO atlas for every
        sample, one that DISCO has where `profiles` come from its service, or that a local file of
        profiles names; `given` needs files that can hold types.
        """
        found = Path(path) if Path(path).exists() else root / path
        if not found.is_file():
            message = f"samples: {path} does not exist as a file (looked here and in {root})"
            raise ConfigError(message)
        with found.open(newline="", encoding="utf-8-sig") as handle:
            lines = (line for line in handle if not line.startswith("#"))
            reader = csv.DictReader(lines, delimiter="\t")
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                message = f"{found}: column {', '.join(missing)} is missing (tab-separated?)"
                raise ConfigError(message)
            names = [*COLUMNS, *(c for c in KNOWN if c in (reader.fieldnames or ()))]
            rows = tuple(Sample(**{c: (row[c] or "").strip() for c in names}) for row in reader)
        mistakes = _mistakes(rows)
        if labels.startswith("disco"):
            mistakes += _disco_mistakes(rows, *_known_atlases(profiles, root))
        if labels == "given":
            mistakes += _without_types(rows)
        if mistakes:
            raise ConfigError("\n".join([f"{found} is not valid:", *mistakes]))
        return cls(rows)

    def select(
        self, *, atlas: str | None = None, entry: str | None = None, role: str | None = None
    ) -> list[Sample]:
        """Return the samples with the given values, in order."""
        wanted = {"atlas": atlas, "entry": entry, "role": role}
        return [
            row
            for row in self.rows
            if all(value is None or getattr(row, name) == value for name, value in wanted.items())
        ]

    def one(self, sample: str, atlas: str | None = None) -> Sample:
        """Return the row of a sample (of an atlas, where a sample is in several)."""
        return next(r for r in self.rows if r.sample == sample and atlas in (None, r.atlas))

    def atlases(self) -> list[str]:
        """Return the atlases in order of appearance."""
        return list(dict.fromkeys(row.atlas for row in self.rows))

    def datasets(self, atlas: str) -> list[str]:
        """Return the data sets of an atlas: itself, then its evaluation sets."""
        sets = dict.fromkeys(r.dataset for r in self.select(atlas=atlas, role="evaluation"))
        return [ATLAS_DATASET, *sets]

    def all_datasets(self) -> list[str]:
        """Return every data set name over all atlases, once."""
        return list(
            dict.fromkeys(name for atlas in self.atlases() for name in self.datasets(atlas))
        )

    def members(self, atlas: str, dataset: str) -> list[Sample]:
        """Return the samples of a data set."""
        if dataset == ATLAS_DATASET:
            return self.select(atlas=atlas, role="atlas")
        return [r for r in self.select(atlas=atlas, role="evaluation") if r.dataset == dataset]

    def pattern(self, column: str) -> str:
        """Return a regular expression that matches the values of a column and nothing else."""
        return "|".join(re.escape(v) for v in dict.fromkeys(getattr(r, column) for r in self.rows))


def _known_atlases(profiles: str | None, root: Path) -> tuple[tuple[str, ...], str]:
    """Return the atlases there are profiles of, and who says so; none where that is not known."""
    if profiles is None or "getRef" in profiles:
        return DISCO_ATLASES if profiles else (), "DISCO"
    found = Path(profiles) if Path(profiles).exists() else root / profiles
    return tuple(atlases_in(found)), profiles


def _disco_mistakes(rows: tuple[Sample, ...], known: tuple[str, ...], source: str) -> list[str]:
    """Say by whose profiles a sample can be labelled, where the sheet does not or cannot be."""
    mistakes = []
    for row in rows:
        where = f"  {row.sample or '(no name)'}: labelling needs disco_atlas for tissue"
        if not row.disco_atlas:
            mistakes.append(f"{where} {row.tissue!r}; {atlas_advice(row.tissue)}")
        elif known and row.disco_atlas not in known:
            close = get_close_matches(row.disco_atlas, known, n=1) or known
            advice = f"choose {' or '.join(close)}"
            if known is DISCO_ATLASES:
                advice = atlas_advice(row.disco_atlas)
            unknown = f"{source} has no {row.disco_atlas!r}"
            mistakes.append(f"{where} {row.tissue!r}; {unknown}: {advice}")
    return mistakes


def _without_types(rows: tuple[Sample, ...]) -> list[str]:
    """Say which samples come in files that cannot hold the types labels.source: given takes."""
    mistakes = []
    for row in rows:
        files = {"fastq": (), "fragments": (row.rna,)}.get(row.entry, (row.rna, row.atac))
        if not any(suffix in location for location in files for suffix in TYPED):
            mistakes.append(
                f"  {row.sample or '(no name)'}: labels.source given takes cell_type from obs of an"
                f" .h5ad or .h5mu, and entry {row.entry} of {row.rna} has none. Give counts that"
                " hold it, or choose another labels.source."
            )
    return mistakes


def _swapped(row: Sample) -> str | None:
    """Say so if a sample's columns hold one another's files, or those of another entry."""
    rna, atac = (re.split("[?#]", location)[0].lower() for location in (row.rna, row.atac))
    if row.entry == "fastq" or not (rna and atac):
        return None
    if rna.endswith(FRAGMENTS_FORMATS):
        return f"rna {row.rna} are fragments, not counts: were rna and atac swapped?"
    if row.entry == "fragments" and atac.endswith(COUNTS_FORMATS):
        return f"atac {row.atac} holds counts, not fragments: entry matrices takes these"
    if row.entry == "matrices" and atac.endswith(FRAGMENTS_FORMATS):
        return f"atac {row.atac} are fragments, not counts: entry fragments takes these"
    return None


def _without_its_lists(row: Sample) -> list[str]:
    """Say which columns name matrix.mtx by URL, of which features and barcodes are not fetched."""
    return [
        f"{name} {location}: matrix.mtx by URL comes without its features and barcodes. Fetch the"
        " three into one folder and name that."
        for name, location in (("rna", row.rna), ("atac", row.atac))
        if row.entry != "fastq" and MATRIX_URL.match(location)
    ]


def _accession_mistakes(row: Sample) -> list[str]:
    """Say which accessions of a sample that enters by its reads are none of its source."""
    shape = ACCESSION.get(row.source)
    if row.entry != "fastq" or shape is None:
        return []
    return [
        f"{name} {value!r} is no accession of {row.source}, e.g. {EXAMPLE[row.source]}"
        for name, value in (("rna", row.rna), ("atac", row.atac))
        if value and not shape.fullmatch(value)
    ]


def _mistakes(rows: tuple[Sample, ...]) -> list[str]:
    mistakes = [] if rows else ["  no sample is listed"]
    seen: set[tuple[str, str]] = set()
    for row in rows:
        where = f"  {row.sample or '(no name)'}:"
        if not NAME.fullmatch(row.sample):
            mistakes.append(f"{where} a sample name has letters, digits, `_`, `-` and `.` only")
        mistakes += [
            f"{where} {name} {value!r} must be letters, digits, `_`, `-` and `.` only"
            for name, value in (("atlas", row.atlas), ("dataset", row.dataset))
            if value and not NAME.fullmatch(value)
        ]
        for name in ("atlas", "tissue", "rna", "atac"):
            if not getattr(row, name):
                mistakes.append(f"{where} {name} is empty")
        mistakes += [
            f"{where} {name} is {getattr(row, name)!r}, allowed: {', '.join(filter(None, values))}"
            for name, values in ALLOWED.items()
            if getattr(row, name) not in values
        ]
        if swapped := _swapped(row):
            mistakes.append(f"{where} {swapped}")
        if row.entry == "fastq" and not row.source:
            allowed = ", ".join(filter(None, SOURCES))
            mistakes.append(f"{where} entry fastq needs a source ({allowed})")
        found = _accession_mistakes(row) + _without_its_lists(row)
        mistakes += [f"{where} {mistake}" for mistake in found]
        if row.reads_gb and not NUMBER.fullmatch(row.reads_gb):
            mistakes.append(f"{where} reads_gb {row.reads_gb!r} is no number of gigabytes")
        if row.role == "evaluation" and not row.dataset:
            mistakes.append(f"{where} an evaluation sample needs the name of its dataset")
        if row.dataset == ATLAS_DATASET:
            mistakes.append(f"{where} {ATLAS_DATASET} names the atlas's own held-out cells")
        if (row.atlas, row.sample) in seen:
            mistakes.append(f"{where} is listed twice in atlas {row.atlas}")
        seen.add((row.atlas, row.sample))
    mistakes += [
        f"  atlas {atlas!r} has no sample of role `atlas`"
        for atlas in dict.fromkeys(row.atlas for row in rows)
        if not any(r.role == "atlas" for r in rows if r.atlas == atlas)
    ]
    return mistakes + _shared_files(rows)


def _shared_files(rows: tuple[Sample, ...]) -> list[str]:
    """Say which samples of an atlas name the same file: their cells would be in it twice.

    A shared accession is only warned of, since one may hold several libraries.
    """
    mistakes = []
    owner: dict[tuple[str, str], str] = {}
    for row in rows:
        for location in dict.fromkeys(filter(None, (row.rna, row.atac))):
            name = location if "://" in location else os.path.normpath(location)
            first = owner.setdefault((row.atlas, name), row.sample)
            if first == row.sample:
                continue
            problem = (
                f"{row.sample}: {location} is already sample {first}'s in atlas {row.atlas}, so its"
                " cells would be there twice. Give each sample files of its own."
            )
            if row.entry == "fastq":
                logger.warning(problem)
            else:
                mistakes.append(f"  {problem}")
    return mistakes
