# Which methods meet on which data sets, and the files they read: functions of benchmark.smk.
from epifoundation.errors import ConfigError
from snakemake.logging import logger

EVALUATION = f"{R}/evaluation/{{atlas}}/{{dataset}}/{{protocol}}.seed{{seed}}"
STORE = f"{R}/atlas/{{atlas}}/store/{{dataset}}"
SPLIT = f"{R}/atlas/{{atlas}}/splits/{{dataset}}.{{protocol}}.seed{{seed}}.tsv"
RESAMPLED = f"{EVALUATION}/metrics/{{task}}.resampled.parquet"
EVALUATION_LOG = "{atlas}.{dataset}.{protocol}.seed{seed}"

LINEAR = ["evaluation/baselines/linear.py"]
INTEGRATION_CODE = {
    "pca": LINEAR,
    "harmony": LINEAR,
    "random": LINEAR,
    "lsi": [*LINEAR, "data/latent.py"],
    "peakvi": ["evaluation/baselines/peakvi.py"],
    "liger": ["evaluation/baselines/liger.py", "evaluation/baselines/liger_worker.py"],
    "scanvi": [
        "evaluation/baselines/scanvi.py",
        "evaluation/baselines/binary_counts.py",
    ],
}


def datasets_of(atlas, wanted):
    """Those of the wanted data sets that the atlas has, in the order of the configuration."""
    return [dataset for dataset in wanted if dataset in sheet.datasets(atlas)]


def ablations(task, dataset, protocol):
    """The variants of the model that are scored beside it; Table 4 asks for embeddings alone."""
    if dataset not in cfg.benchmark.ablation_datasets:
        return []
    embedded = task == "integration" and protocol == "paper"
    return [
        variant
        for variant in cfg.benchmark.ablations
        if (
            embedded
            if variant in protocols.ABLATIONS_OF_EMBEDDINGS
            else protocol != protocols.LABEL_FREE
        )
    ]


def methods_of(task, wildcards):
    """All methods scored on a data set: baselines, EpiFoundation, its ablations."""
    ours = ["epifoundation"]
    if task == "integration":
        label_free = wildcards.protocol == protocols.LABEL_FREE
        pretrained = ["epifoundation_pretrained"]
        ours = pretrained if label_free else ours
        if cfg.benchmark.pretrained_embedding and not label_free:
            ours += pretrained
    variants = [
        f"epifoundation_{variant}"
        for variant in ablations(task, wildcards.dataset, wildcards.protocol)
        if not ablation_refused(wildcards.atlas, wildcards.dataset, variant)
    ]
    return [*getattr(cfg.benchmark, task), *ours, *variants]


def ablation_refused(atlas, dataset, variant):
    """Why a data set has no such variant of the model, or nothing."""
    if variant != protocols.NO_TISSUE:
        return ""
    return protocols.why_no_tissue_cannot(sheet, atlas, dataset)


def files_of(task):
    """A function of wildcards: the result of each of methods_of."""
    suffix = "h5ad" if task == "expression" else "parquet"

    def files(wildcards):
        pattern = f"{EVALUATION}/{task}/{{method}}.{suffix}"
        methods = methods_of(task, wildcards)
        return [pattern.format(**wildcards, method=method) for method in methods]

    return files


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
    """What identifies the rows of a data set in the metrics, and what must be known of them."""
    where = (wildcards.atlas, wildcards.dataset, wildcards.protocol)
    return {
        **wildcards,
        "label_source": cfg.labels.source,
        "remark": protocols.caution(sheet, *where),
    }


def scored():
    """Every task, data set, protocol and seed that is scored or refused."""
    wanted = [*cfg.benchmark.integration_datasets, *cfg.benchmark.ablation_datasets]
    datasets = {
        "integration": lambda atlas: dict.fromkeys(datasets_of(atlas, wanted)),
        "annotation": sheet.datasets,
        "expression": sheet.datasets,
    }
    return [
        {
            "task": task,
            "atlas": atlas,
            "dataset": dataset,
            "protocol": protocol,
            "seed": seed,
        }
        for atlas in sheet.atlases()
        for task, of_atlas in datasets.items()
        for dataset in of_atlas(atlas)
        for protocol in cfg.benchmark.protocols
        if task in protocols.tasks_of(protocol)
        for seed in cfg.benchmark.seeds
    ]


def refusal(one):
    """Why a data set has no scores in a protocol, or nothing."""
    return protocols.why_not(sheet, one["atlas"], one["dataset"], one["protocol"])


def all_of(pattern, tasks=("integration", "annotation", "expression")):
    """A file of every task, data set, protocol and seed that can be scored."""
    return [
        pattern.format(**one)
        for one in scored()
        if one["task"] in tasks and not refusal(one)
    ]


def all_metrics(wildcards):
    """The metrics of every task, data set, protocol and seed."""
    wanted = cfg.benchmark.integration_datasets
    if wanted and not set(wanted) & set(sheet.all_datasets()):
        message = (
            f"{cfg.samples} has none of benchmark.integration_datasets ({', '.join(wanted)}), so"
            f" that Table 1 would be empty. Name some of {', '.join(sheet.all_datasets())}, or []"
            " for no such table."
        )
        raise ConfigError(message)
    tissue = [
        f"{R}/evaluation/{atlas}/ALLTissue/paper.seed{seed}/metrics/tissue.tsv"
        for atlas in sheet.atlases()
        for seed in cfg.benchmark.seeds
        if "no_batch" in cfg.benchmark.ablations
        and "paper" in cfg.benchmark.protocols
        and datasets_of(atlas, cfg.benchmark.ablation_datasets)
    ]
    return all_of(f"{EVALUATION}/metrics/{{task}}.tsv") + tissue


def refused():
    """What cannot be scored, with the reason: rows without a value in the metrics."""
    rows = []
    for one in scored():
        row = {**one, "label_source": cfg.labels.source}
        reason = refusal(one)
        if reason:
            methods = [*getattr(cfg.benchmark, one["task"]), "epifoundation"]
            rows.append({**row, "methods": methods, "reason": reason})
            continue
        rows += [
            {**row, "methods": [f"epifoundation_{variant}"], "reason": why}
            for variant in ablations(one["task"], one["dataset"], one["protocol"])
            if (why := ablation_refused(one["atlas"], one["dataset"], variant))
        ]
    return rows


def check_datasets():
    """Say which data sets of the configuration no sample is of; refuse where none is left."""
    figures = [cfg.benchmark.heatmap_figures, cfg.benchmark.umap_figures]
    wanted = {
        "integration_datasets": cfg.benchmark.integration_datasets,
        "ablation_datasets": cfg.benchmark.ablation_datasets,
        **{
            f"figure {number}": datasets
            for one in figures
            for number, datasets in one.items()
        },
    }
    have = sheet.all_datasets()
    for key, datasets in wanted.items():
        missing = [dataset for dataset in datasets if dataset not in have]
        if missing:
            logger.warning(
                f"benchmark: {key} names {', '.join(missing)}, and {cfg.samples} has no such data"
                f" set (it has {', '.join(have)}): left out"
            )
