# Where the inputs of a sample lie, whichever way it came in; and who makes which peaks.

import re
from dataclasses import asdict

from epifoundation.acquire.hosts import place_of


def any_of(names):
    """A pattern that matches these names and nothing else; nothing at all if there is none."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def fragments_of(sample):
    """The fragments file of a sample, by its way in."""
    if sheet.one(sample).entry == "fragments":
        return f"{R}/inputs/{sample}/atac_fragments.tsv.gz"
    return f"{R}/align/{sample}/outs/atac_fragments.tsv.gz"


def counts_of_sample(sample):
    """The RNA counts of a sample's called cells, by its way in."""
    if sheet.one(sample).entry == "fragments":
        return f"{R}/inputs/{sample}/rna.h5ad"
    return f"{R}/align/{sample}/outs/filtered_feature_bc_matrix.h5"


def genes_file():
    """The annotation: of the built genome, or as it is where none is built; may be absent."""
    if cfg.reference.fasta is None:
        return SOURCES["annotation"]
    return f"{R}/reference/genes.gtf"


def blacklist_file():
    """The blacklist: of the built genome, or as it is where none is built."""
    if cfg.reference.fasta is None:
        return SOURCES["blacklist"]
    return f"{R}/reference/blacklist.bed"


def pooled_samples(atlas):
    """The samples whose fragments are pooled."""
    role = "atlas" if cfg.peaks.pool == "atlas" else None
    rows = sheet.select(atlas=atlas, role=role)
    return [row.sample for row in rows if row.entry != "matrices"]


def made_of_matrices(atlas):
    """Whether no atlas sample has fragments."""
    entries = {row.entry for row in sheet.select(atlas=atlas, role="atlas")}
    return entries == {"matrices"}


def samples_by_entry(*entries):
    """A pattern of the samples that enter there."""
    return any_of([row.sample for row in sheet.rows if row.entry in entries])


def sample_of(wildcards):
    """A sample's row as plain data."""
    return asdict(sheet.one(wildcards.sample, wildcards.atlas))


def imported_genes():
    """The annotation for counts of others; no genome is built where only matrices are read."""
    if all(row.entry == "matrices" for row in sheet.rows):
        return SOURCES["annotation"]
    return genes_file()


def input_source(sample, column):
    """The file a row names: itself where local, else where it is fetched to."""
    location = getattr(sheet.one(sample), column)
    return local_path(place_of(location, f"{R}/inputs/{sample}/source/{column}"))


def rna_clusters(wildcards):
    """The RNA clusters of the pooled samples, where peaks are called on each."""
    if cfg.peaks.calls != "cluster":
        return []
    return [
        f"{R}/labels/{wildcards.atlas}/{sample}/rna_clusters.tsv"
        for sample in pooled_samples(wildcards.atlas)
    ]


def calling_mb(wildcards, input, threads):
    """Memory of peak calling: MACS2 takes 25 MB a million tags, 0.1 million a compressed MB."""
    sizes = [Path(path).stat().st_size / 1e6 for path in input.fragments]
    at_once = [sum(sizes)] if cfg.peaks.calls == "pooled" else sorted(sizes)[-threads:]
    base = 1500 if cfg.peaks.keep_duplicates in (1, "all") else 4600  # a byte a base
    reading = 250 * threads
    return int(reading + sum(base + min(4 * size, 150000) for size in at_once))


def rna_before_peaks(wildcards):
    """The RNA counts of a sample's called cells; of paired matrices, those of their cells."""
    if sheet.one(wildcards.sample).entry == "matrices":
        return f"{R}/matrix/{wildcards.atlas}/{wildcards.sample}/cells.h5mu"
    return counts_of_sample(wildcards.sample)


def all_labels(file):
    """A file of labels of every sample of an atlas."""
    return lambda wildcards: [
        f"{R}/labels/{row.atlas}/{row.sample}/{file}"
        for row in sheet.select(atlas=wildcards.atlas)
    ]


def clustered_by(source):
    """Cells and their clusters, of a sample or of all of an atlas, as a label source needs them."""

    def files(wildcards):
        rows = sheet.select(atlas=wildcards.atlas)
        if sample := wildcards.get("sample"):
            rows = [sheet.one(sample, wildcards.atlas)]
        labels = [f"{R}/labels/{row.atlas}/{row.sample}" for row in rows]
        if source == "disco_wnn":
            return {"cells": [f"{folder}/clustered.h5mu" for folder in labels]}
        return {
            "cells": [
                f"{R}/matrix/{row.atlas}/{row.sample}/cells.h5mu" for row in rows
            ],
            "rna_clusters": [f"{folder}/rna_clusters.tsv" for folder in labels],
        }

    return files
