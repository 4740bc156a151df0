"""Genes of a GTF as a table, collapsed as Signac does."""

import logging
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import polars as pl

from epifoundation.data.gzipped import open_bytes
from epifoundation.errors import DataError

logger = logging.getLogger(__name__)

PROTEIN_CODING = "protein_coding"


def read_genes(path: Path | str) -> pd.DataFrame:
    """Return the genes of a GTF, or of a table of genes, in order of first appearance.

    Columns `gene_id`, `gene_name` (empty names replaced by the id, then made unique as R's
    make.unique does), `gene_type` (also from `gene_biotype`; empty if neither), `chrom`, `start`,
    `end` (0-based, half-open) and `strand` (`+` or `-`; unknown counts as `+`). A gene spans all
    rows of its id on a chromosome; name, type and strand are those of its first row (Signac's
    CollapseToLongestTranscript). A table is CSV with a header and columns chrom, start, end
    (0-based, half-open), gene_id, gene_name, strand and, if known, gene_type.
    """
    text = _read(path)
    rows = _table_rows(text, path) if _is_table(text) else _gtf_rows(text, path)
    genes = (
        rows.group_by("gene_id", "chrom", maintain_order=True)
        .agg(
            pl.col("gene_name", "gene_type", "strand").first(),
            pl.col("gene_type").fill_null("").ne("").any().alias("is_typed"),
            pl.col("start").min() - 1,
            pl.col("end").max(),
        )
        .with_columns(
            gene_name=pl.when(pl.col("gene_name").fill_null("") == "")
            .then("gene_id")
            .otherwise("gene_name"),
            gene_type=pl.col("gene_type").fill_null(""),
            strand=pl.when(pl.col("strand") == "-").then(pl.lit("-")).otherwise(pl.lit("+")),
        )
    )
    table = pd.DataFrame(
        {
            "gene_id": genes["gene_id"].to_list(),
            "gene_name": make_unique(genes["gene_name"].to_list()),
            "gene_type": genes["gene_type"].to_list(),
            "chrom": genes["chrom"].to_list(),
            "start": genes["start"].to_numpy(),
            "end": genes["end"].to_numpy(),
            "strand": genes["strand"].to_list(),
        }
    )
    untyped = (table["gene_type"] == "").to_numpy()
    if untyped.any() and not untyped.all():
        logger.warning(
            "%s: %s of %s genes have no type on their first line (first: %s; %s of them have one on"
            " a later line), and so do not count as protein coding",
            *(path, f"{untyped.sum():,}", f"{len(table):,}", table["gene_id"][untyped].iloc[0]),
            f"{(untyped & genes['is_typed'].to_numpy()).sum():,}",
        )
    n_coding = int((table["gene_type"] == PROTEIN_CODING).sum())
    logger.info("%s: %d genes, %d of them protein coding", path, len(table), n_coding)
    return table


def protein_coding(genes: pd.DataFrame, where: Path | str = "the annotation") -> pd.DataFrame:
    """Return the protein-coding genes; none, or none of a known type, is an error of `where`."""
    coding = genes[genes["gene_type"] == PROTEIN_CODING]
    if coding.empty:
        found = ", ".join(sorted(set(genes["gene_type"]) - {""})[:5])
        message = (
            f"{where}: none of its {len(genes):,} genes is {PROTEIN_CODING} (types found: {found})."
            " Is the annotation of this genome complete?"
            if found
            else f"{where}: none of its {len(genes):,} genes has a type (first: "
            f"{genes['gene_id'].iloc[0] if len(genes) else 'none'}; no attribute gene_type or"
            f" gene_biotype), and {PROTEIN_CODING} genes are needed. Take the GTF of GENCODE or"
            " Ensembl, or add the types (in a table: a column gene_type)."
        )
        raise DataError(message)
    return coding


def make_unique(names: Iterable[str]) -> list[str]:
    """Return names with `.1`, `.2`, … added to repeats, never taking a name that is in use.

    The rule of R's make.unique, which Seurat applies to gene symbols.
    """
    names = list(names)
    used = set(names)
    seen: set[str] = set()
    last: dict[str, int] = {}
    unique = []
    for name in names:
        label = name
        if name in seen:
            number = last.get(name, 0) + 1
            while f"{name}.{number}" in used:
                number += 1
            last[name], label = number, f"{name}.{number}"
            used.add(label)
        seen.add(name)
        unique.append(label)
    return unique


def _read(path: Path | str) -> bytes:
    try:
        with open_bytes(path) as handle:
            return handle.read()
    except (EOFError, OSError) as error:
        message = f"{path} cannot be read ({error}). Fetch it again."
        raise DataError(message) from error


def _is_table(text: bytes) -> bool:
    header = text.split(b"\n", 1)[0].strip().decode(errors="replace").split(",")
    return {"chrom", "start", "end", "gene_id", "gene_name", "strand"} <= set(header)


def _table_rows(text: bytes, path: Path | str) -> pl.DataFrame:
    try:
        table = pl.read_csv(text, schema_overrides={"chrom": pl.String, "gene_name": pl.String})
    except pl.exceptions.PolarsError as error:
        message = f"{path} cannot be read as a table of genes ({str(error).splitlines()[0]})"
        raise DataError(message) from error
    if "gene_type" not in table.columns:
        table = table.with_columns(gene_type=pl.lit(""))
    return table.with_columns(start=pl.col("start") + 1)  # as in a GTF


def _gtf_rows(text: bytes, path: Path | str) -> pl.DataFrame:
    """Return every row that has a gene_id: chrom, start, end (1-based, closed), strand, names."""
    positions = {0: "chrom", 3: "start", 4: "end", 6: "strand", 8: "attributes"}
    try:
        table = pl.read_csv(
            text,
            separator="\t",
            has_header=False,
            comment_prefix="#",
            quote_char=None,
            columns=list(positions),
            new_columns=list(positions.values()),
            schema_overrides={"start": pl.Int64, "end": pl.Int64, "chrom": pl.String},
        )
    except (pl.exceptions.PolarsError, IndexError) as error:
        lines = (line for line in text.splitlines() if line and not line.startswith(b"#"))
        first = next(lines, b"")[:60].decode(errors="backslashreplace")
        message = (
            f"{path} cannot be read as GTF: nine fields separated by tabs, start and end as whole"
            f" numbers, are expected, its first line is {first!r}"
            f" ({str(error).splitlines()[0]}). Give the annotation of the genome."
        )
        raise DataError(message) from error
    attributes = pl.col("attributes")
    rows = table.with_columns(
        gene_id=attributes.str.extract(r'gene_id "([^"]*)"'),
        gene_name=attributes.str.extract(r'gene_name "([^"]*)"'),
        gene_type=attributes.str.extract(r'gene_(?:bio)?type "([^"]*)"'),
    ).filter(pl.col("gene_id").is_not_null())
    if rows.is_empty():
        message = f'{path}: none of its {len(table)} rows has an attribute gene_id "…"; not a GTF?'
        raise DataError(message)
    return rows
