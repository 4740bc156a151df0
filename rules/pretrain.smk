# Pretraining of the model and of its ablations.
# Input: token store, vocabulary and split of the atlas; pretrain.start_from, a model.
# Output: a model directory per pretraining:
# a variant, or one that reads other cells: `no_tissue.{dataset}`, without the tissue of a data set;
# `{variant}.{protocol}`, without the samples or donors that the protocol tests in ALLTissue.
# Training takes one CPU thread a device: small matrix products gain little from a second one, and
# two such jobs side by side take half the time. A cluster is asked for those that read ahead too.
# The section `training` is no parameter of these rules: scripts read it from the configuration, so
# that another machine's settings rerun nothing.
# A killed job goes on from <results>/training/<stage>/<run> (docs/decisions/0012).


include: "models.smk"


rule pretrain:
    """Align peaks with genes on the atlas's training cells."""
    input:
        store=f"{R}/atlas/{{atlas}}/store/ALLTissue",
        split=pretraining_split,
        vocabulary=f"{R}/atlas/{{atlas}}/vocabulary",
        start_from=local_or_url(cfg.pretrain.start_from),
    output:
        model=directory(f"{R}/models/{{atlas}}/pretrain/{{pretraining}}.seed{{seed}}"),
    log:
        f"{R}/logs/pretrain/{{atlas}}.{{pretraining}}.seed{{seed}}.log",
    benchmark:
        f"{R}/benchmarks/pretrain/{{atlas}}.{{pretraining}}.seed{{seed}}.tsv"
    wildcard_constraints:
        pretraining=(
            rf"(full|no_batch|no_chromosome)(\.({'|'.join(protocols.HELD_OUT)}))?"
            rf"|no_pretrain|no_tissue\.({'|'.join(sheet.all_datasets())})"
        ),
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
        cells=pretraining_cells,
        folder=f"{R}/training/pretrain/{{atlas}}.{{pretraining}}.seed{{seed}}",
        code=code_of(*PRETRAIN_CODE),
    script:
        "../workflow_scripts/pretrain.py"
