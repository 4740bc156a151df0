# The atlas and its evaluation sets: assembled, tokenised, split. None of them is held in memory.
# Input: cells.h5mu or clustered.h5mu and labels.tsv of the samples. Output: h5mu per data set,
# the atlas's vocabulary (a folder), token stores (a folder each), splits.

# Of each sample: its cells, with clusters unless labels come with the files; and our labels.
CELLS_OF = (
    "{R}/matrix/{row.atlas}/{row.sample}/cells.h5mu"
    if cfg.labels.source in ("given", "disco_rna")
    else "{R}/labels/{row.atlas}/{row.sample}/clustered.h5mu"
)
LABELS_OF = (
    "{R}/labels/{row.atlas}/{row.sample}/labels.tsv"
    if cfg.labels.source in ("disco_wnn", "disco_rna")
    else []
)


# What decides the cells, peaks, counts and labels of an atlas, for its provenance.
DATA_SECTIONS = (
    cfg.reference,
    cfg.align,
    cfg.peaks,
    cfg.qc,
    cfg.cluster,
    cfg.labels,
)


rule assemble:
    """Join the samples of a data set to one labelled multiome."""
    input:
        samples=collect(CELLS_OF, R=R, row=lambda w: sheet.members(w.atlas, w.dataset)),
        labels=collect(LABELS_OF, R=R, row=lambda w: sheet.members(w.atlas, w.dataset)),
    output:
        mdata=f"{R}/atlas/{{atlas}}/{{dataset}}.h5mu",
    log:
        f"{R}/logs/assemble/{{atlas}}.{{dataset}}.log",
    benchmark:
        f"{R}/benchmarks/assemble/{{atlas}}.{{dataset}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(1500, 0.05),
        runtime=120,
    params:
        label_source=cfg.labels.source,
        config_hash=hash_of(*DATA_SECTIONS),
        code=code_of(
            "contracts.py",
            "data/assembly.py",
            "data/cell_ontology.py",
            "data/cell_ontology.tsv",
            "data/csr_files.py",
            "data/expression.py",
            "data/multiome_rows.py",
            "multiome.py",
        ),
    script:
        "../workflow_scripts/assemble.py"


rule build_vocabulary:
    """Number the atlas's peaks, genes, chromosomes and batches."""
    input:
        mdata=f"{R}/atlas/{{atlas}}/ALLTissue.h5mu",
    output:
        vocabulary=directory(f"{R}/atlas/{{atlas}}/vocabulary"),
    log:
        f"{R}/logs/build_vocabulary/{{atlas}}.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(1500, 0.02),
        runtime=30,
    params:
        code=code_of("data/multiome_rows.py", "data/vocabulary.py"),
    script:
        "../workflow_scripts/build_vocabulary.py"


rule tokenize_cells:
    """Write the cells of a data set as tokens of the atlas's vocabulary."""
    input:
        mdata=f"{R}/atlas/{{atlas}}/{{dataset}}.h5mu",
        vocabulary=f"{R}/atlas/{{atlas}}/vocabulary",
    output:
        store=directory(f"{R}/atlas/{{atlas}}/store/{{dataset}}"),
    log:
        f"{R}/logs/tokenize_cells/{{atlas}}.{{dataset}}.log",
    benchmark:
        f"{R}/benchmarks/tokenize_cells/{{atlas}}.{{dataset}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(1500, 0.05),
        runtime=60,
    params:
        code=code_of(
            "data/csr_files.py",
            "data/multiome_rows.py",
            "data/store.py",
            "data/tokens.py",
            "data/vocabulary.py",
        ),
    script:
        "../workflow_scripts/tokenize_cells.py"


rule write_cellxgene:
    """Write the RNA of a data set with ontology terms, by the rules of CELLxGENE."""
    input:
        mdata=f"{R}/atlas/{{atlas}}/{{dataset}}.h5mu",
        sample_terms=local_or_url(cfg.cellxgene.sample_terms),
        genes=local_or_url(cfg.cellxgene.genes),
    output:
        cells=f"{R}/atlas/{{atlas}}/{{dataset}}.cellxgene.h5ad",
    log:
        f"{R}/logs/write_cellxgene/{{atlas}}.{{dataset}}.log",
    benchmark:
        f"{R}/benchmarks/write_cellxgene/{{atlas}}.{{dataset}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(2000, 0.05),
        runtime=60,
    params:
        title=lambda wildcards: f"{wildcards.atlas} {wildcards.dataset}",
        code=code_of(
            "data/cellxgene.py",
            "data/csr_files.py",
            "data/expression.py",
            "data/multiome_rows.py",
            "data/streamed_pca.py",
            "data/tissue_terms.tsv",
        ),
    script:
        "../workflow_scripts/write_cellxgene.py"


rule split:
    """Divide the cells of a data set into train, validation and test."""
    input:
        store=f"{R}/atlas/{{atlas}}/store/{{dataset}}",
    output:
        split=f"{R}/atlas/{{atlas}}/splits/{{dataset}}.{{protocol}}.seed{{seed}}.tsv",
    log:
        f"{R}/logs/split/{{atlas}}.{{dataset}}.{{protocol}}.seed{{seed}}.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(1000, 0.05),
        runtime=10,
    params:
        atlas=params_of(cfg.atlas),
        pretrained_donors=lambda w: protocols.pretrained_donors(
            sheet, w.atlas, w.dataset
        ),
        code=code_of("contracts.py", "data/splits.py", "protocols.py"),
    script:
        "../workflow_scripts/split.py"


rule cellxgene:
    """Every data set as CELLxGENE takes it; simulated genes it does not."""
    input:
        [
            f"{R}/atlas/{atlas}/{dataset}.cellxgene.h5ad"
            for atlas in sheet.atlases()
            for dataset in sheet.datasets(atlas)
        ],


rule miniatlas:
    """Every atlas with its evaluation sets, as h5mu and as token stores."""
    input:
        [
            f"{R}/atlas/{atlas}/{part}{dataset}{suffix}"
            for atlas in sheet.atlases()
            for dataset in sheet.datasets(atlas)
            for part, suffix in (("", ".h5mu"), ("store/", ""))
        ],
