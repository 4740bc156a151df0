# Counts in peaks, barcode metrics, cells; and the two later ways in.
# In:  R/align/{sample}/outs/ (entry fastq), or the files the sheet names (fragments, matrices);
#      R/peaks/{atlas}/peaks.bed; R/reference/{genes.gtf,blacklist.bed}
# Out: R/inputs/{sample}/{rna.h5ad,atac_fragments.tsv.gz,atac_fragments.tsv.gz.tbi} (fragments),
#      R/matrix/{atlas}/{sample}/{atac_counts.h5ad,barcode_metrics.parquet} (not matrices),
#      R/matrix/{atlas}/{sample}/{cells.h5mu,qc_funnel.tsv,qc_alternatives.tsv}

CELLS = {
    "cells": f"{R}/matrix/{{atlas}}/{{sample}}/cells.h5mu",
    "funnel": f"{R}/matrix/{{atlas}}/{{sample}}/qc_funnel.tsv",
    "alternatives": f"{R}/matrix/{{atlas}}/{{sample}}/qc_alternatives.tsv",
}


rule fetch_input:
    """Fetch a file of counts or fragments that the sheet names by URL."""
    output:
        source=temp(f"{R}/inputs/{{sample}}/source/{{column}}/{{name}}"),
    log:
        f"{R}/logs/fetch_input/{{sample}}.{{column}}.{{name}}.log",
    benchmark:
        f"{R}/benchmarks/fetch_input/{{sample}}.{{column}}.{{name}}.tsv"
    wildcard_constraints:
        column="rna|atac",
        name="[^/]+",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=12 * 60,
    params:
        url=lambda wildcards: getattr(sheet.one(wildcards.sample), wildcards.column),
        retries=cfg.acquire.retries,
    script:
        "../workflow_scripts/fetch_input.py"


rule import_fragments:
    """Sort and index a sample's own fragments, and bring its RNA counts into one form."""
    input:
        rna=lambda wildcards: input_source(wildcards.sample, "rna"),
        fragments=lambda wildcards: input_source(wildcards.sample, "atac"),
        genes=imported_genes(),
    output:
        rna=f"{R}/inputs/{{sample}}/rna.h5ad",
        fragments=f"{R}/inputs/{{sample}}/atac_fragments.tsv.gz",
        index=f"{R}/inputs/{{sample}}/atac_fragments.tsv.gz.tbi",
    log:
        f"{R}/logs/import_fragments/{{sample}}.log",
    benchmark:
        f"{R}/benchmarks/import_fragments/{{sample}}.tsv"
    wildcard_constraints:
        sample=samples_by_entry("fragments"),
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        # an unsorted file is sorted in memory
        mem_mb=lambda wildcards, input: int(4000 + 12 * input.size_mb),
        runtime=240,
    params:
        code=code_of(
            *FRAGMENT_CODE,
            *IMPORT_CODE,
            "data/fragment_files.py",
        ),
    script:
        "../workflow_scripts/import_fragments.py"


rule import_matrices:
    """Pair a sample's own matrices as cells, with their published labels."""
    input:
        rna=lambda wildcards: input_source(wildcards.sample, "rna"),
        atac=lambda wildcards: input_source(wildcards.sample, "atac"),
        genes=imported_genes(),
    output:
        **CELLS,
    log:
        f"{R}/logs/import_matrices/{{atlas}}.{{sample}}.log",
    benchmark:
        f"{R}/benchmarks/import_matrices/{{atlas}}.{{sample}}.tsv"
    wildcard_constraints:
        sample=samples_by_entry("matrices"),
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        # large files are read row by row
        mem_mb=lambda wildcards, input: int(4000 + 20 * min(input.size_mb, 256)),
        runtime=240,
    params:
        sample=sample_of,
        qc=params_of(cfg.qc),
        mitochondrial=cfg.reference.mitochondrial,
        code=code_of(
            *IMPORT_CODE,
            "contracts.py",
            "data/by_rows.py",
            "data/cells.py",
            "data/criteria.py",
            "data/csr_files.py",
            "data/paired_files.py",
            "data/qc.py",
        ),
    script:
        "../workflow_scripts/import_matrices.py"


rule count:
    """Count fragments per barcode and peak, and measure the barcodes, in one reading."""
    input:
        fragments=lambda wildcards: fragments_of(wildcards.sample),
        rna=lambda wildcards: counts_of_sample(wildcards.sample),
        peaks=f"{R}/peaks/{{atlas}}/peaks.bed",
        genes=genes_file(),
        blacklist=blacklist_file(),
        chrom_sizes=CHROM_SIZES,
    output:
        counts=f"{R}/matrix/{{atlas}}/{{sample}}/atac_counts.h5ad",
        metrics=f"{R}/matrix/{{atlas}}/{{sample}}/barcode_metrics.parquet",
    log:
        f"{R}/logs/count/{{atlas}}.{{sample}}.log",
    benchmark:
        f"{R}/benchmarks/count/{{atlas}}.{{sample}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, input: int(3000 + 4 * input.size_mb),
        runtime=240,
    params:
        mitochondrial=cfg.reference.mitochondrial,
        code=code_of(
            *FRAGMENT_CODE,
            *IMPORT_CODE,
            "contracts.py",
            "data/fragments.py",
            "data/qc.py",
            "data/tss.py",
            "data/windows.py",
        ),
    script:
        "../workflow_scripts/count.py"


rule filter_cells:
    """Keep the barcodes that meet the six criteria, with both their counts."""
    input:
        rna=lambda wildcards: counts_of_sample(wildcards.sample),
        counts=rules.count.output.counts,
        metrics=rules.count.output.metrics,
        genes=genes_file(),
    output:
        **CELLS,
    log:
        f"{R}/logs/filter_cells/{{atlas}}.{{sample}}.log",
    benchmark:
        f"{R}/benchmarks/filter_cells/{{atlas}}.{{sample}}.tsv"
    wildcard_constraints:
        sample=samples_by_entry("fastq", "fragments"),
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input: int(4000 + 10 * input.size_mb),
        runtime=60,
    params:
        sample=sample_of,
        qc=params_of(cfg.qc),
        code=code_of(
            *IMPORT_CODE,
            "contracts.py",
            "data/cells.py",
            "data/criteria.py",
            "data/qc.py",
        ),
    script:
        "../workflow_scripts/filter_cells.py"
