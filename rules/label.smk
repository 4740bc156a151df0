# Clusters of each sample, and their cell types from DISCO's profiles of the tissue.
# In:  cells.h5mu of a sample; RNA counts of its called cells
# Out: R/labels/{atlas}/{sample}/{clustered.h5mu,rna_clusters.tsv}; labels.tsv from the clusters that
#      labels.source names, which needs no others; for the report or on request
#      R/labels/{atlas}/{labels.{the other source},agreement,confusion}.tsv

from epifoundation.samples import ATLAS_DATASET

# Read where they are; where they are a URL, from what fetch_profiles made of it.
PROFILES = local_or_url(cfg.labels.profiles) or f"{R}/reference/profiles.csv"
# Which clusters give the labels, and which others are labelled to compare.
LABELLED, COMPARED = (
    ("disco_rna", "disco_wnn")
    if cfg.labels.source == "disco_rna"
    else ("disco_wnn", "disco_rna")
)


LABEL_CODE = (
    "contracts.py",
    "data/cell_ontology.py",
    "data/cell_ontology.tsv",
    "data/cellid.py",
    "data/expression.py",
    "data/labels.py",
    "data/profiles.py",
)


rule fetch_profiles:
    """Download the expression profiles of known cell types."""
    output:
        profiles=f"{R}/reference/profiles.csv",
    log:
        f"{R}/logs/fetch_profiles.log",
    benchmark:
        f"{R}/benchmarks/fetch_profiles.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        url=cfg.labels.profiles,
        retries=cfg.acquire.retries,
        code=code_of("data/profiles.py"),
    script:
        "../workflow_scripts/fetch_profiles.py"


rule cluster:
    """Cluster the cells of a sample over both modalities."""
    input:
        cells=f"{R}/matrix/{{atlas}}/{{sample}}/cells.h5mu",
    output:
        clustered=f"{R}/labels/{{atlas}}/{{sample}}/clustered.h5mu",
    log:
        f"{R}/logs/cluster/{{atlas}}.{{sample}}.log",
    benchmark:
        f"{R}/benchmarks/cluster/{{atlas}}.{{sample}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 2
    resources:
        mem_mb=memory_mb(3000, 30),
        runtime=60,
    params:
        cluster=params_of(cfg.cluster),
        code=code_of(
            "data/clusters.py",
            "data/expression.py",
            "data/latent.py",
            "data/louvain.py",
            "data/neighbors.py",
        ),
    script:
        "../workflow_scripts/cluster.py"


rule cluster_rna:
    """Cluster the called cells of a sample by their RNA alone, before any peak."""
    input:
        rna=rna_before_peaks,
    output:
        clusters=f"{R}/labels/{{atlas}}/{{sample}}/rna_clusters.tsv",
    log:
        f"{R}/logs/cluster_rna/{{atlas}}.{{sample}}.log",
    benchmark:
        f"{R}/benchmarks/cluster_rna/{{atlas}}.{{sample}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(3000, 40),
        runtime=60,
    params:
        cluster=params_of(cfg.cluster),
        qc=params_of(cfg.qc),
        code=code_of(
            *IMPORT_CODE,
            "contracts.py",
            "data/clusters.py",
            "data/expression.py",
            "data/latent.py",
            "data/louvain.py",
            "data/neighbors.py",
        ),
    script:
        "../workflow_scripts/cluster_rna.py"


rule label:
    """Give each cluster the cell type whose profile its mean expression follows best."""
    input:
        unpack(clustered_by(LABELLED)),
        profiles=PROFILES,
    output:
        labels=f"{R}/labels/{{atlas}}/{{sample}}/labels.tsv",
    log:
        f"{R}/logs/label/{{atlas}}.{{sample}}.log",
    benchmark:
        f"{R}/benchmarks/label/{{atlas}}.{{sample}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(2000, 8),
        runtime=30,
    params:
        labels=params_of(cfg.labels),
        disco_atlas=lambda wildcards: sheet.one(
            wildcards.sample, wildcards.atlas
        ).disco_atlas,
        code=code_of(*LABEL_CODE),
    script:
        "../workflow_scripts/label.py"


rule compare_labels:
    """Label by the other source too: how far both agree is the ceiling of what can be predicted."""
    input:
        unpack(clustered_by(COMPARED)),
        labels=all_labels("labels.tsv"),
        profiles=PROFILES,
    output:
        compared=f"{R}/labels/{{atlas}}/labels.{COMPARED}.tsv",
        agreement=f"{R}/labels/{{atlas}}/agreement.tsv",
        confusion=f"{R}/labels/{{atlas}}/confusion.tsv",
    log:
        f"{R}/logs/compare_labels/{{atlas}}.log",
    benchmark:
        f"{R}/benchmarks/compare_labels/{{atlas}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(4000, 1),  # one sample at a time
        runtime=120,
    params:
        labels=params_of(cfg.labels),
        sources=(LABELLED, COMPARED),
        datasets=lambda wildcards: [
            row.dataset or ATLAS_DATASET for row in sheet.select(atlas=wildcards.atlas)
        ],
        atlases=lambda wildcards: [
            row.disco_atlas for row in sheet.select(atlas=wildcards.atlas)
        ],
        code=code_of(*LABEL_CODE, "data/label_agreement.py"),
    script:
        "../workflow_scripts/compare_labels.py"


rule clusters:
    """The clusters of every sample."""
    input:
        [f"{R}/labels/{row.atlas}/{row.sample}/clustered.h5mu" for row in sheet.rows],
