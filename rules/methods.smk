# Which methods meet on which data sets, and the files they read: functions of benchmark.smk.

EVALUATION = f"{R}/evaluation/{{atlas}}/{{dataset}}/{{protocol}}.seed{{seed}}"
STORE = f"{R}/atlas/{{atlas}}/store/{{dataset}}"
SPLIT = f"{R}/atlas/{{atlas}}/splits/{{dataset}}.{{protocol}}.seed{{seed}}.tsv"
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
    pattern = f"{EVALUATION}/integration/{{method}}.parquet"
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
