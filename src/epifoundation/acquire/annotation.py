"""The gene annotation in one form, whichever archive it comes from."""

import logging
import re
from pathlib import Path

from epifoundation.errors import AcquireError

logger = logging.getLogger(__name__)

ATTRIBUTE = {
    name: re.compile(rf'(?:^|[\s;]){name} "([^"]*)"')
    for name in ("gene_id", "gene_name", "gene_type", "gene_biotype")
}

# Length of chromosome 1, which no two builds have in common.
BUILDS = {
    248_956_422: "GRCh38 (hg38)",
    249_250_621: "GRCh37 (hg19)",
    248_387_328: "T2T-CHM13",
    195_471_971: "GRCm38 (mm10, mouse)",
    195_154_279: "GRCm39 (mm39, mouse)",
}


def build_of(sizes: dict[str, int]) -> str | None:
    """Return the name of the genome build, None if chromosome 1 is of none that is known."""
    return BUILDS.get(sizes.get("chr1", sizes.get("1", 0)))


def normalise_gtf(raw: Path, target: Path, sizes: dict[str, int], *, shown: Path) -> None:
    """Write the GTF with gene_name and gene_type on every line, or say what it lacks.

    Ensembl's gene_biotype becomes gene_type, and a gene without a name gets its id as one, as in
    the references of 10x. Lines keep their order.
    """
    unknown: dict[str, int] = {}
    lacking: dict[str, tuple[int, int]] = {}  # attribute: lines, number of the first
    features: dict[str, int] = {}
    beyond: list[str] = []
    n_unnamed = 0
    with raw.open() as reader, target.open("w") as writer:
        for number, line in enumerate(reader, start=1):
            if line.startswith("#") or not line.strip():
                writer.write(line)
                continue
            fields = line.rstrip("\n").split("\t")
            if len(fields) != 9:
                message = f"{shown} line {number} has {len(fields)} columns, a GTF has 9."
                raise AcquireError(message)
            if fields[0] not in sizes:
                unknown[fields[0]] = unknown.get(fields[0], 0) + 1
            elif not fields[4].isdecimal() or int(fields[4]) > sizes[fields[0]]:
                beyond.append(f"line {number}, {fields[0]}:{fields[3]}-{fields[4]}")
            features[fields[2]] = features.get(fields[2], 0) + 1
            fields[8], missing, unnamed = _complete(fields[8])
            n_unnamed += unnamed and fields[2] == "gene"
            for name in missing:
                count, first = lacking.get(name, (0, number))
                lacking[name] = (count + 1, first)
            writer.write("\t".join(fields) + "\n")
    _check_gtf(unknown, beyond, lacking, features, sizes, shown, n_unnamed)
    if n_unnamed:
        logger.info("%d of %d genes have no name and go by their id", n_unnamed, features["gene"])


def _complete(attributes: str) -> tuple[str, list[str], bool]:
    """Return the attributes with name and type, those that lack, and whether it had no name."""
    found = {name: pattern.search(attributes) for name, pattern in ATTRIBUTE.items()}
    gene_id = found["gene_id"]
    missing = [] if gene_id else ["gene_id"]
    extra = []
    if not found["gene_name"] and gene_id:
        extra.append(f'gene_name "{gene_id[1]}";')
    if not found["gene_type"]:
        if found["gene_biotype"]:
            extra.append(f'gene_type "{found["gene_biotype"][1]}";')
        else:
            missing.append("gene_type")
    if extra:
        attributes = " ".join([attributes.rstrip().rstrip(";") + ";", *extra])
    return attributes, missing, not found["gene_name"]


def _check_gtf(
    unknown: dict[str, int],
    beyond: list[str],
    lacking: dict[str, tuple[int, int]],
    features: dict[str, int],
    sizes: dict[str, int],
    shown: Path,
    n_unnamed: int,
) -> None:
    problems = [
        f"{count} lines have no {name} (first: line {first})"
        for name, (count, first) in lacking.items()
    ]
    problems += [f"it has no `{f}` line" for f in ("gene", "exon") if not features.get(f)]
    if features.get("gene") and n_unnamed == features["gene"]:
        problems.append(f"none of its {n_unnamed} genes has a gene_name")
    if unknown:
        name = next(iter(unknown))
        problems.append(
            f"{len(unknown)} chromosomes are not in the genome (first: {name}, {unknown[name]} of"
            f" {sum(features.values())} lines; the genome has {', '.join(list(sizes)[:3])} ...)"
        )
    if beyond:
        problems.append(
            f"{len(beyond)} lines lie beyond the end of their chromosome (first: {beyond[0]})"
        )
    if problems:
        built = f" The sequence is {build}." if (build := build_of(sizes)) else ""
        message = (
            f"{shown} does not fit: {'; '.join(problems)}.{built} Use the GTF of this very genome."
        )
        raise AcquireError(message)
