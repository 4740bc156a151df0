# Fine-tuning on each data set, and what the fine-tuned models say of its cells.
# Input: a pretrained model; token store and split of the data set.
# Output: model directories; embeddings, cell types and expression levels, where methods compete.

PREDICTIONS = f"{R}/evaluation/{{atlas}}/{{dataset}}/{{protocol}}.seed{{seed}}"
FINETUNED = "{dataset}/{variant}.{protocol}.seed{seed}"


rule finetune_cell_type:
    """Learn the cell types of a data set's training cells."""
    input:
        pretrained=pretrained,
        store=f"{R}/atlas/{{atlas}}/store/{{dataset}}",
        split=f"{R}/atlas/{{atlas}}/splits/{{dataset}}.{{protocol}}.seed{{seed}}.tsv",
    output:
        model=directory(f"{R}/models/{{atlas}}/finetune_cell_type/{FINETUNED}"),
    log:
        f"{R}/logs/finetune_cell_type/{{atlas}}.{{dataset}}.{{variant}}.{{protocol}}.seed{{seed}}.log",
    benchmark:
        f"{R}/benchmarks/finetune_cell_type/{{atlas}}.{{dataset}}.{{variant}}.{{protocol}}.seed{{seed}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        gpu=1,
        cpus_per_task=1 + cfg.training.n_workers,
        mem_mb=64000,
        runtime=720,
    params:
        train=params_of(cfg.finetune_cell_type),
        test_cells_allowed=may_test_pretrained_cells,
        folder=f"{R}/training/finetune_cell_type/{{atlas}}.{{dataset}}.{{variant}}.{{protocol}}.seed{{seed}}",
        code=code_of(*FINETUNE_CODE),
    script:
        "../workflow_scripts/finetune_cell_type.py"


rule finetune_expression:
    """Learn the expression levels of a data set's training cells."""
    input:
        pretrained=pretrained,
        store=f"{R}/atlas/{{atlas}}/store/{{dataset}}",
        split=f"{R}/atlas/{{atlas}}/splits/{{dataset}}.{{protocol}}.seed{{seed}}.tsv",
    output:
        model=directory(f"{R}/models/{{atlas}}/finetune_expression/{FINETUNED}"),
    log:
        f"{R}/logs/finetune_expression/{{atlas}}.{{dataset}}.{{variant}}.{{protocol}}.seed{{seed}}.log",
    benchmark:
        f"{R}/benchmarks/finetune_expression/{{atlas}}.{{dataset}}.{{variant}}.{{protocol}}.seed{{seed}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        gpu=1,
        cpus_per_task=1 + cfg.training.n_workers,
        mem_mb=64000,
        runtime=720,
    params:
        train=params_of(cfg.finetune_expression),
        n_bins=cfg.benchmark.n_bins,
        test_cells_allowed=may_test_pretrained_cells,
        folder=f"{R}/training/finetune_expression/{{atlas}}.{{dataset}}.{{variant}}.{{protocol}}.seed{{seed}}",
        code=code_of(*FINETUNE_CODE),
    script:
        "../workflow_scripts/finetune_expression.py"


rule predict_cell_type:
    """Name the test cells' types and embed all cells."""
    input:
        model=f"{R}/models/{{atlas}}/finetune_cell_type/{{dataset}}/full.{{protocol}}.seed{{seed}}",
        store=f"{R}/atlas/{{atlas}}/store/{{dataset}}",
        split=f"{R}/atlas/{{atlas}}/splits/{{dataset}}.{{protocol}}.seed{{seed}}.tsv",
    output:
        annotation=f"{PREDICTIONS}/annotation/epifoundation.parquet",
        integration=f"{PREDICTIONS}/integration/epifoundation.parquet",
    log:
        f"{R}/logs/predict_cell_type/{{atlas}}.{{dataset}}.{{protocol}}.seed{{seed}}.log",
    benchmark:
        f"{R}/benchmarks/predict_cell_type/{{atlas}}.{{dataset}}.{{protocol}}.seed{{seed}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=32000,
        runtime=120,
    params:
        crops=cfg.benchmark.crops,
        code=code_of(*PREDICT_CODE),
    script:
        "../workflow_scripts/predict_cell_type.py"


use rule predict_cell_type as predict_cell_type_ablation with:
    input:
        model=f"{R}/models/{{atlas}}/finetune_cell_type/{FINETUNED}",
        store=f"{R}/atlas/{{atlas}}/store/{{dataset}}",
        split=f"{R}/atlas/{{atlas}}/splits/{{dataset}}.{{protocol}}.seed{{seed}}.tsv",
    output:
        annotation=f"{PREDICTIONS}/annotation/epifoundation_{{variant}}.parquet",
        integration=f"{PREDICTIONS}/integration/epifoundation_{{variant}}.parquet",
    log:
        f"{R}/logs/predict_cell_type_ablation/{{atlas}}.{{dataset}}.{{variant}}.{{protocol}}.seed{{seed}}.log",
    benchmark:
        f"{R}/benchmarks/predict_cell_type_ablation/{{atlas}}.{{dataset}}.{{variant}}.{{protocol}}.seed{{seed}}.tsv"
    wildcard_constraints:
        variant="no_pretrain|no_tissue",


rule embed_ablation:
    """Embed all cells with an ablated model, fine-tuned like the full one."""
    input:
        model=f"{R}/models/{{atlas}}/finetune_cell_type/{FINETUNED}",
        store=f"{R}/atlas/{{atlas}}/store/{{dataset}}",
    output:
        integration=f"{PREDICTIONS}/integration/epifoundation_{{variant}}.parquet",
    log:
        f"{R}/logs/embed_ablation/{{atlas}}.{{dataset}}.{{variant}}.{{protocol}}.seed{{seed}}.log",
    benchmark:
        f"{R}/benchmarks/embed_ablation/{{atlas}}.{{dataset}}.{{variant}}.{{protocol}}.seed{{seed}}.tsv"
    wildcard_constraints:
        variant="no_batch|no_chromosome",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=32000,
        runtime=120,
    params:
        crops=cfg.benchmark.crops,
        code=code_of(*PREDICT_CODE),
    script:
        "../workflow_scripts/embed_ablation.py"


rule embed_pretrained:
    """Embed all cells with the model before fine-tuning, which saw no label."""
    input:
        model=pretrained,
        store=f"{R}/atlas/{{atlas}}/store/{{dataset}}",
        split=f"{R}/atlas/{{atlas}}/splits/{{dataset}}.{{protocol}}.seed{{seed}}.tsv",
    output:
        integration=f"{PREDICTIONS}/integration/epifoundation_pretrained.parquet",
    log:
        f"{R}/logs/embed_pretrained/{{atlas}}.{{dataset}}.{{protocol}}.seed{{seed}}.log",
    benchmark:
        f"{R}/benchmarks/embed_pretrained/{{atlas}}.{{dataset}}.{{protocol}}.seed{{seed}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=32000,
        runtime=120,
    params:
        test_cells_allowed=may_test_pretrained_cells,
        crops=cfg.benchmark.crops,
        code=code_of(*PREDICT_CODE),
    script:
        "../workflow_scripts/embed_pretrained.py"


rule predict_expression:
    """Predict the level of every gene in the test cells."""
    input:
        model=f"{R}/models/{{atlas}}/finetune_expression/{{dataset}}/full.{{protocol}}.seed{{seed}}",
        store=f"{R}/atlas/{{atlas}}/store/{{dataset}}",
        split=f"{R}/atlas/{{atlas}}/splits/{{dataset}}.{{protocol}}.seed{{seed}}.tsv",
    output:
        expression=f"{PREDICTIONS}/expression/epifoundation.h5ad",
    log:
        f"{R}/logs/predict_expression/{{atlas}}.{{dataset}}.{{protocol}}.seed{{seed}}.log",
    benchmark:
        f"{R}/benchmarks/predict_expression/{{atlas}}.{{dataset}}.{{protocol}}.seed{{seed}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=32000,
        runtime=120,
    params:
        crops=cfg.benchmark.crops,
        code=code_of(*PREDICT_CODE),
    script:
        "../workflow_scripts/predict_expression.py"


use rule predict_expression as predict_expression_ablation with:
    input:
        model=f"{R}/models/{{atlas}}/finetune_expression/{FINETUNED}",
        store=f"{R}/atlas/{{atlas}}/store/{{dataset}}",
        split=f"{R}/atlas/{{atlas}}/splits/{{dataset}}.{{protocol}}.seed{{seed}}.tsv",
    output:
        expression=f"{PREDICTIONS}/expression/epifoundation_{{variant}}.h5ad",
    log:
        f"{R}/logs/predict_expression_ablation/{{atlas}}.{{dataset}}.{{variant}}.{{protocol}}.seed{{seed}}.log",
    benchmark:
        f"{R}/benchmarks/predict_expression_ablation/{{atlas}}.{{dataset}}.{{variant}}.{{protocol}}.seed{{seed}}.tsv"
    wildcard_constraints:
        variant="no_pretrain|no_tissue",
