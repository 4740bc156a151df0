# The methods beside EpiFoundation, and the scores of all of them on the same test cells.
# In:  token store, split, vocabulary and fragments of a data set; what the fine-tuned models
#      predict (finetune.smk), under the same folder as the baselines' files
# Out: R/evaluation/{atlas}/{dataset}/{protocol}.seed{seed}/
#        integration/{method}.parquet  annotation/{method}.parquet  expression/{method}.h5ad
#        metrics/{integration,annotation,expression}.tsv
#        metrics/{annotation,expression}.resampled.parquet, for paired differences
#      R/metrics.tsv, all of them; R/comparisons.tsv, of EpiFoundation with each other method


include: "methods.smk"


check_datasets()


rule integrate:
    """Embed all cells of a data set with one integration method."""
    input:
        store=STORE,
        split=SPLIT,
    output:
        embedding=f"{EVALUATION}/integration/{{method}}.parquet",
    log:
        f"{R}/logs/integrate/{EVALUATION_LOG}.{{method}}.log",
    benchmark:
        f"{R}/benchmarks/integrate/{EVALUATION_LOG}.{{method}}.tsv"
    wildcard_constraints:
        method="|".join(cfg.benchmark.integration),
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(4000, 60),
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
        f"{R}/logs/annotate_controls/{EVALUATION_LOG}.log",
    benchmark:
        f"{R}/benchmarks/annotate_controls/{EVALUATION_LOG}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(3000, 40),
        runtime=240,
    params:
        methods=cfg.benchmark.annotation,
        code=code_of(
            "data/store.py",
            "evaluation/baselines/annotation.py",
            "evaluation/baselines/binary_counts.py",
            "evaluation/baselines/lsi.py",
            "evaluation/baselines/scanvi.py",
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
        vocabulary=f"{R}/atlas/{{atlas}}/vocabulary",
    output:
        [f"{EVALUATION}/expression/{m}.h5ad" for m in cfg.benchmark.expression],
    log:
        f"{R}/logs/predict_expression_baselines/{EVALUATION_LOG}.log",
    benchmark:
        f"{R}/benchmarks/predict_expression_baselines/{EVALUATION_LOG}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(4000, 30),
        runtime=480,
    params:
        methods=cfg.benchmark.expression,
        samples=samples_with_fragments,
        n_bins=cfg.benchmark.n_bins,
        code=code_of(
            *FRAGMENT_CODE,
            "data/annotation.py",
            "data/expression.py",
            "data/fragments.py",
            "data/gene_activity.py",
            "data/store.py",
            "data/vocabulary.py",
            "evaluation/baselines/affine.py",
            "evaluation/baselines/expression.py",
            "evaluation/baselines/lsi.py",
            "evaluation/baselines/multivi.py",
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
        methods=files_of("integration"),
    output:
        metrics=f"{EVALUATION}/metrics/integration.tsv",
    log:
        f"{R}/logs/score_integration/{EVALUATION_LOG}.log",
    benchmark:
        f"{R}/benchmarks/score_integration/{EVALUATION_LOG}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 2
    resources:
        mem_mb=memory_mb(3000, 20),
        runtime=240,
    params:
        methods=lambda w: methods_of("integration", w),
        dataset=dataset_columns,
        code=code_of(
            "evaluation/baselines/__init__.py",
            "evaluation/inputs.py",
            "evaluation/embedded.py",
            "evaluation/integration.py",
            "evaluation/integration_variants.py",
            "evaluation/depth.py",
            "evaluation/lisi.py",
            "evaluation/score.py",
            "evaluation/scoring.py",
        ),
    script:
        "../workflow_scripts/score_integration.py"


rule score_annotation:
    """Score the annotations of a data set on its test cells."""
    input:
        store=STORE,
        split=SPLIT,
        methods=files_of("annotation"),
    output:
        metrics=f"{EVALUATION}/metrics/annotation.tsv",
        resampled=f"{EVALUATION}/metrics/annotation.resampled.parquet",
    log:
        f"{R}/logs/score_annotation/{EVALUATION_LOG}.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(2000, 10),
        runtime=30,
    params:
        methods=lambda w: methods_of("annotation", w),
        dataset=dataset_columns,
        code=code_of(
            "evaluation/annotation.py",
            "evaluation/baselines/__init__.py",
            "evaluation/depth.py",
            "evaluation/inputs.py",
            "evaluation/resampling.py",
            "evaluation/score.py",
            "evaluation/scoring.py",
        ),
    script:
        "../workflow_scripts/score_annotation.py"


rule score_expression:
    """Score the predicted expression of a data set on its test cells."""
    input:
        store=STORE,
        split=SPLIT,
        vocabulary=f"{R}/atlas/{{atlas}}/vocabulary",
        methods=files_of("expression"),
    output:
        metrics=f"{EVALUATION}/metrics/expression.tsv",
        resampled=f"{EVALUATION}/metrics/expression.resampled.parquet",
    log:
        f"{R}/logs/score_expression/{EVALUATION_LOG}.log",
    benchmark:
        f"{R}/benchmarks/score_expression/{EVALUATION_LOG}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(3000, 40),
        runtime=120,
    params:
        methods=lambda w: methods_of("expression", w),
        n_bins=cfg.benchmark.n_bins,
        dataset=dataset_columns,
        code=code_of(
            "data/expression.py",
            "evaluation/baselines/__init__.py",
            "evaluation/depth.py",
            "evaluation/expression.py",
            "evaluation/expression_variants.py",
            "evaluation/inputs.py",
            "evaluation/resampling.py",
            "evaluation/score.py",
            "evaluation/scoring.py",
        ),
    script:
        "../workflow_scripts/score_expression.py"


rule score_tissue:
    """Score how well the tissue is told from pretrained embeddings, with and without batches."""
    input:
        store=STORE,
        split=SPLIT,
        full=f"{R}/models/{{atlas}}/pretrain/full.seed{{seed}}",
        no_batch=f"{R}/models/{{atlas}}/pretrain/no_batch.seed{{seed}}",
    output:
        metrics=f"{EVALUATION}/metrics/tissue.tsv",
    log:
        f"{R}/logs/score_tissue/{EVALUATION_LOG}.log",
    benchmark:
        f"{R}/benchmarks/score_tissue/{EVALUATION_LOG}.tsv"
    wildcard_constraints:
        dataset="ALLTissue",
        protocol="paper",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=32000,
        runtime=60,
    params:
        dataset=dataset_columns,
        code=code_of(
            *PREDICT_CODE,
            "data/splits.py",
            "evaluation/inputs.py",
            "evaluation/score.py",
            "evaluation/tissue.py",
        ),
    script:
        "../workflow_scripts/score_tissue.py"


rule collect_metrics:
    """Join the metrics of all data sets: the only source of the tables."""
    input:
        all_metrics,
    output:
        metrics=f"{R}/metrics.tsv",
    log:
        f"{R}/logs/collect_metrics.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        refused=refused(),
        code=code_of(
            "contracts.py",
            "evaluation/baselines/__init__.py",
            "evaluation/inputs.py",
            "evaluation/refused.py",
            "evaluation/score.py",
            "evaluation/scoring.py",
        ),
    script:
        "../workflow_scripts/collect_metrics.py"


rule compare_methods:
    """Tell which differences from EpiFoundation the test cells, donors and seeds can carry."""
    input:
        metrics=f"{R}/metrics.tsv",
        resampled=all_of(RESAMPLED, tasks=("annotation", "expression")),
        splits=all_of(SPLIT),
    output:
        comparisons=f"{R}/comparisons.tsv",
    log:
        f"{R}/logs/compare_methods.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(2000, 20),
        runtime=30,
    params:
        sets=[one for one in scored() if not refusal(one)],
        code=code_of(
            "contracts.py",
            "evaluation/comparisons.py",
            "evaluation/resampling.py",
        ),
    script:
        "../workflow_scripts/compare_methods.py"
