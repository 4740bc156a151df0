# Pretraining of the model and of its two ablations.
# Input: token store, vocabulary and split of the atlas; pretrain.start_from, a model. Output: a model directory per variant.
# Training takes one CPU thread a device: small matrix products gain little from a second one, and
# two such jobs side by side take half the time. A cluster is asked for those that read ahead too.
# The section `training` is no parameter of these rules: scripts read it from the configuration, so
# that another machine's settings rerun nothing.
# A killed job goes on from <results>/training/<stage>/<run> (docs/decisions/0012).

MODEL_CODE = (
    "data/expression.py",
    "data/store.py",
    "data/vocabulary.py",
    "hub/directory.py",
    "hub/reading.py",
    "hub/weights.py",
    "model/attention.py",
    "model/batch_norm.py",
    "model/losses.py",
    "model/network.py",
    "model/packing.py",
    "model/parts.py",
    "training/checkpoint.py",
    "training/dataset.py",
    "training/distributed.py",
    "training/launch.py",
    "training/loader.py",
    "training/loop.py",
    "training/metrics.py",
    "training/objectives.py",
    "training/preparation.py",
    "training/pretrain.py",
    "training/run.py",
    "training/schedule.py",
    "training/start.py",
    "training/validation.py",
)


rule pretrain:
    """Align peaks with genes on the atlas's training cells."""
    input:
        store=f"{R}/atlas/{{atlas}}/store/ALLTissue",
        split=f"{R}/atlas/{{atlas}}/splits/ALLTissue.paper.seed{{seed}}.tsv",
        vocabulary=f"{R}/atlas/{{atlas}}/vocabulary",
        start_from=local_or_url(cfg.pretrain.start_from),
    output:
        model=directory(f"{R}/models/{{atlas}}/pretrain/{{variant}}.seed{{seed}}"),
    log:
        f"{R}/logs/pretrain/{{atlas}}.{{variant}}.seed{{seed}}.log",
    benchmark:
        f"{R}/benchmarks/pretrain/{{atlas}}.{{variant}}.seed{{seed}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: cfg.training.n_devices
    resources:
        gpu=cfg.training.n_devices,
        cpus_per_task=cfg.training.n_devices * (1 + cfg.training.n_workers),
        mem_mb=48000 + 16000 * cfg.training.n_devices,
        runtime=2880,
    params:
        model=params_of(cfg.model),
        train=params_of(cfg.pretrain),
        folder=f"{R}/training/pretrain/{{atlas}}.{{variant}}.seed{{seed}}",
        code=code_of(*MODEL_CODE),
    script:
        "../workflow_scripts/pretrain.py"
