# The methods beside EpiFoundation, and the scores of all of them on the same test cells.
# In:  token store, split, vocabulary and fragments of a data set; what the fine-tuned models
#      predict (finetune.smk), under the same folder as the baselines' files
# Out: R/evaluation/{atlas}/{dataset}/{protocol}.seed{seed}/
#        integration/{method}.parquet  annotation/{method}.parquet  expression/{method}.h5ad
#        metrics/{integration,annotation,expression}.tsv
#      R/metrics.tsv, all of them

EVALUATION = R + "/evaluation/{atlas}/{dataset}/{protocol}.seed{seed}"
STORE = R + "/atlas/{atlas}/store/{dataset}"
SPLIT = R + "/atlas/{atlas}/splits/{dataset}.{protocol}.seed{seed}.tsv"
EVALUATION_LOG = "{atlas}.{dataset}.{protocol}.seed{seed}"

LINEAR = ["evaluation/baselines/linear.py"]
INTEGRATION_CODE = {
    "pca": LINEAR,
    "harmony": LINEAR,
    "random": LINEAR,
    "liger": ["evaluation/baselines/liger.py", "evaluation/baselines/liger_worker.py"],
    "scanvi": [
        "evaluation/baselines/scanvi.py",
        "evaluation/baselines/binary_counts.py",
    ],
}


def datasets_of(atlas, wanted):
    """Those of the wanted data sets that the atlas has, in the order of the configuration."""
    return [dataset for dataset in wanted if dataset in sheet.datasets(atlas)]


def integration_methods(wildcards):
    """All embeddings scored on a data set: baselines, EpiFoundation, its ablations."""
    methods = [*cfg.benchmark.integration, "epifoundation"]
    if wildcards.dataset in cfg.benchmark.ablation_datasets:
        methods += ["epifoundation_no_batch", "epifoundation_no_chromosome"]
    return methods


def integration_files(wildcards):
    """The embedding of each of integration_methods."""
    pattern = EVALUATION + "/integration/{method}.parquet"
    return [
        pattern.format(**wildcards, method=m) for m in integration_methods(wildcards)
    ]


def samples_with_fragments(wildcards):
    """The samples of a data set, if all of them have fragments, for gene activity."""
    members = sheet.members(wildcards.atlas, wildcards.dataset)
    if any(row.entry == "matrices" for row in members):
        return []
    return [row.sample for row in members]


def activity_inputs(wildcards):
    """Fragments and annotation, where gene activity can be computed."""
    samples = samples_with_fragments(wildcards)
    genes = {"genes": genes_file()} if samples else {}
    return {"fragments": [fragments_of(sample) for sample in samples], **genes}


def dataset_columns(wildcards):
    """What identifies the rows of a data set in the metrics."""
    return {**wildcards, "label_source": cfg.labels.source}


def all_metrics():
    """The metrics of every task, data set, protocol and seed."""
    tasks = {
        "integration": lambda atlas: datasets_of(
            atlas,
            [*cfg.benchmark.integration_datasets, *cfg.benchmark.ablation_datasets],
        ),
        "annotation": sheet.datasets,
        "expression": sheet.datasets,
    }
    paths = [
        f"{EVALUATION}/metrics/{task}.tsv".format(
            atlas=atlas, dataset=dataset, protocol=protocol, seed=seed
        )
        for atlas in sheet.atlases()
        for task, datasets in tasks.items()
        for dataset in datasets(atlas)
        for protocol in cfg.benchmark.protocols
        for seed in cfg.benchmark.seeds
    ]
    return list(dict.fromkeys(paths))


rule integrate:
    """Embed all cells of a data set with one integration method."""
    input:
        store=STORE,
        split=SPLIT,
    output:
        embedding=EVALUATION + "/integration/{method}.parquet",
    log:
        R + "/logs/integrate/" + EVALUATION_LOG + ".{method}.log",
    benchmark:
        R + "/benchmarks/integrate/" + EVALUATION_LOG + ".{method}.tsv"
    wildcard_constraints:
        method="|".join(cfg.benchmark.integration),
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=32000,
        runtime=720,
    params:
        liger_python=cfg.benchmark.liger_python,
        code=lambda wildcards: code_of(
            "data/store.py",
            "evaluation/benchmark.py",
            "evaluation/inputs.py",
            *INTEGRATION_CODE[wildcards.method],
        ),
    script:
        "../workflow_scripts/integrate.py"


rule annotate_controls:
    """Annotate the test cells of a data set with every control."""
    input:
        store=STORE,
        split=SPLIT,
    output:
        [f"{EVALUATION}/annotation/{m}.parquet" for m in cfg.benchmark.annotation],
    log:
        R + "/logs/annotate_controls/" + EVALUATION_LOG + ".log",
    benchmark:
        R + "/benchmarks/annotate_controls/" + EVALUATION_LOG + ".tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=32000,
        runtime=240,
    params:
        methods=cfg.benchmark.annotation,
        code=code_of(
            "data/store.py",
            "evaluation/baselines/annotation.py",
            "evaluation/baselines/lsi.py",
            "evaluation/benchmark.py",
            "evaluation/inputs.py",
        ),
    script:
        "../workflow_scripts/annotate_controls.py"


rule predict_expression_baselines:
    """Predict the expression of the test cells of a data set with every baseline."""
    input:
        unpack(activity_inputs),
        store=STORE,
        split=SPLIT,
        vocabulary=R + "/atlas/{atlas}/vocabulary",
    output:
        [f"{EVALUATION}/expression/{m}.h5ad" for m in cfg.benchmark.expression],
    log:
        R + "/logs/predict_expression_baselines/" + EVALUATION_LOG + ".log",
    benchmark:
        R + "/benchmarks/predict_expression_baselines/" + EVALUATION_LOG + ".tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=64000,
        runtime=480,
    params:
        methods=cfg.benchmark.expression,
        samples=samples_with_fragments,
        n_bins=cfg.benchmark.n_bins,
        code=code_of(
            "data/expression.py",
            "data/gene_activity.py",
            "data/store.py",
            "evaluation/baselines/expression.py",
            "evaluation/baselines/lsi.py",
            "evaluation/benchmark.py",
            "evaluation/inputs.py",
        ),
    script:
        "../workflow_scripts/predict_expression_baselines.py"


rule score_integration:
    """Score the embeddings of a data set on its test cells."""
    input:
        store=STORE,
        split=SPLIT,
        methods=integration_files,
    output:
        metrics=EVALUATION + "/metrics/integration.tsv",
    log:
        R + "/logs/score_integration/" + EVALUATION_LOG + ".log",
    benchmark:
        R + "/benchmarks/score_integration/" + EVALUATION_LOG + ".tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=16000,
        runtime=240,
    params:
        methods=integration_methods,
        dataset=dataset_columns,
        code=code_of(
            "evaluation/baselines/__init__.py",
            "evaluation/inputs.py",
            "evaluation/integration.py",
            "evaluation/lisi.py",
            "evaluation/scoring.py",
        ),
    script:
        "../workflow_scripts/score_integration.py"


rule score_annotation:
    """Score the annotations of a data set on its test cells."""
    input:
        store=STORE,
        split=SPLIT,
        methods=[
            f"{EVALUATION}/annotation/{m}.parquet"
            for m in [*cfg.benchmark.annotation, "epifoundation"]
        ],
    output:
        metrics=EVALUATION + "/metrics/annotation.tsv",
    log:
        R + "/logs/score_annotation/" + EVALUATION_LOG + ".log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        methods=[*cfg.benchmark.annotation, "epifoundation"],
        dataset=dataset_columns,
        code=code_of(
            "evaluation/annotation.py",
            "evaluation/baselines/__init__.py",
            "evaluation/inputs.py",
            "evaluation/scoring.py",
        ),
    script:
        "../workflow_scripts/score_annotation.py"


rule score_expression:
    """Score the predicted expression of a data set on its test cells."""
    input:
        store=STORE,
        split=SPLIT,
        vocabulary=R + "/atlas/{atlas}/vocabulary",
        methods=[
            f"{EVALUATION}/expression/{m}.h5ad"
            for m in [*cfg.benchmark.expression, "epifoundation"]
        ],
    output:
        metrics=EVALUATION + "/metrics/expression.tsv",
    log:
        R + "/logs/score_expression/" + EVALUATION_LOG + ".log",
    benchmark:
        R + "/benchmarks/score_expression/" + EVALUATION_LOG + ".tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=32000,
        runtime=120,
    params:
        methods=[*cfg.benchmark.expression, "epifoundation"],
        n_bins=cfg.benchmark.n_bins,
        dataset=dataset_columns,
        code=code_of(
            "data/expression.py",
            "evaluation/baselines/__init__.py",
            "evaluation/expression.py",
            "evaluation/inputs.py",
            "evaluation/scoring.py",
        ),
    script:
        "../workflow_scripts/score_expression.py"


rule collect_metrics:
    """Join the metrics of all data sets: the only source of the tables."""
    input:
        all_metrics(),
    output:
        metrics=R + "/metrics.tsv",
    log:
        R + "/logs/collect_metrics.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_of("contracts.py"),
    script:
        "../workflow_scripts/collect_metrics.py"
