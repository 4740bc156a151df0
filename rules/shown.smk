# What tables, figures and the report show, and the files they read: functions of report.smk.
from functools import partial

PLAIN_FORMATS = ["tsv", "md", "tex"]
TABLE_FORMATS = [*PLAIN_FORMATS, "html"]
SHOWN = {
    "protocol": next(
        (name for name in cfg.benchmark.protocols if name != protocols.LABEL_FREE),
        cfg.benchmark.protocols[0],
    ),
    "seed": cfg.benchmark.seeds[0],
}  # in figures
TABLE_CODE = (
    "reporting/formats.py",
    "reporting/layouts.py",
    "reporting/page.css",
    "reporting/page.js",
    "reporting/page.py",
    "reporting/printed.py",
)
METRIC_FIGURE_CODE = (
    "reporting/figures.py",
    "reporting/metric_figures.py",
    "reporting/names.py",
    "reporting/tables.py",
)
FIGURE_CODE = (
    "data/store.py",
    "evaluation/inputs.py",
    "evaluation/results.py",
    "reporting/figure_files.py",
    "reporting/figures.py",
    "reporting/names.py",
    "reporting/prediction_figures.py",
)
METRIC_FIGURES = ("ablation", "ranks")
FURTHER_FIGURES = (
    *METRIC_FIGURES,
    "confusion",
    "calibration",
    "genes",
    "training_curves",
)


def shown_datasets(atlas):
    """The data sets that the shown protocol can divide."""
    return [
        dataset
        for dataset in sheet.datasets(atlas)
        if not protocols.why_not(sheet, atlas, dataset, SHOWN["protocol"])
    ]


def figure_datasets(figures, wildcards):
    """The data sets of a figure that the atlas has."""
    shown = shown_datasets(wildcards.atlas)
    return [dataset for dataset in figures[wildcards.number] if dataset in shown]


def figures_of(atlas):
    """Names of the figures of an atlas: the paper's for which it has data sets, and others."""
    shown = shown_datasets(atlas)
    paper = {
        "1": ["ALLTissue"],
        **cfg.benchmark.heatmap_figures,
        **cfg.benchmark.umap_figures,
    }
    numbers = sorted(n for n, wanted in paper.items() if set(wanted) & set(shown))
    further = FURTHER_FIGURES if shown else METRIC_FIGURES
    return [*(f"figure{number}" for number in numbers), *further]


def shown_files(pattern, wildcards, datasets, **others):
    """A file of each data set, in the protocol and seed that figures show."""
    return expand(pattern, atlas=wildcards.atlas, dataset=datasets, **SHOWN, **others)


def figure_inputs(figures, wildcards, **patterns):
    """Token stores, splits and results of the data sets of a figure."""
    datasets = figure_datasets(figures, wildcards)
    files = {
        name: shown_files(pattern, wildcards, datasets)
        for name, pattern in {"stores": STORE, "splits": SPLIT, **patterns}.items()
    }
    return {name: paths for name, paths in files.items() if paths}


def heatmap_inputs(wildcards):
    """What Figure 3 or 6 of an atlas shows."""
    predictions = f"{EVALUATION}/annotation/epifoundation.parquet"
    return figure_inputs(
        cfg.benchmark.heatmap_figures, wildcards, predictions=predictions
    )


def methods_inputs(wildcards):
    """What Figure 4 or 5 of an atlas shows: all methods of one data set, then of the next."""
    files = figure_inputs(cfg.benchmark.umap_figures, wildcards)
    embeddings = [
        path
        for dataset in figure_datasets(cfg.benchmark.umap_figures, wildcards)
        for path in shown_files(
            f"{EVALUATION}/integration/{{method}}.parquet",
            wildcards,
            [dataset],
            method=UMAP_METHODS,
        )
    ]
    return {**files, "embeddings": embeddings} if embeddings else files


def prediction_inputs(file, methods=("epifoundation",)):
    """All data sets of an atlas with a file of each method: those of one data set, then the next."""

    def inputs(wildcards):
        datasets = shown_datasets(wildcards.atlas)
        predictions = [
            path
            for dataset in datasets
            for path in shown_files(
                f"{EVALUATION}/{file}", wildcards, [dataset], method=methods
            )
        ]
        return {
            "stores": shown_files(STORE, wildcards, datasets),
            "splits": shown_files(SPLIT, wildcards, datasets),
            "predictions": predictions,
        }

    return inputs


CALIBRATED = [
    "epifoundation",
    *(m for m in cfg.benchmark.annotation if m != "majority"),
]
UMAP_METHODS = [m for m in cfg.benchmark.integration if m != "random"] + [
    "epifoundation"
]


def trained_of(atlas):
    """Model directories of an atlas whose training is shown, by name."""
    paths = {"pretraining": "pretrain/full.seed{seed}"}
    for task in ("cell_type", "expression"):
        for dataset in shown_datasets(atlas):
            path = f"finetune_{task}/{dataset}/full.{{protocol}}.seed{{seed}}"
            paths[f"{task} {dataset}"] = path
    return {
        name: f"{R}/models/{atlas}/{path}".format(**SHOWN)
        for name, path in paths.items()
    }


REPORT_FILES = {  # by what the report says of them: caption and path
    "funnels": {
        f"{row.atlas} {row.sample}": f"{R}/matrix/{row.atlas}/{row.sample}/qc_funnel.tsv"
        for row in sheet.rows
    },
    "alternatives": {
        f"{row.atlas} {row.sample}": f"{R}/matrix/{row.atlas}/{row.sample}/qc_alternatives.tsv"
        for row in sheet.rows
    },
    "peaks": {atlas: f"{R}/peaks/{atlas}/summary.tsv" for atlas in sheet.atlases()},
    "stores": {
        f"{atlas} {dataset}": STORE.format(atlas=atlas, dataset=dataset)
        for atlas in sheet.atlases()
        for dataset in sheet.datasets(atlas)
    },
    "labels": {
        f"{row.atlas} {row.sample}": LABELS_OF.format(R=R, row=row)
        for row in sheet.rows
        if LABELS_OF
    },
    # Labels of RNA clusters do not need WNN, which fails on few cells; then, and where labels are
    # given, the comparison is made by name only.
    **{
        part: (
            {atlas: f"{R}/labels/{atlas}/{name}.tsv" for atlas in sheet.atlases()}
            if cfg.labels.source == "disco_wnn"
            or (cfg.labels.source == "disco_rna" and cfg.cluster.small_samples)
            else {}
        )
        for part, name in (("agreements", "agreement"), ("confusions", "confusion"))
    },
    "models": {
        f"{atlas} {name}": folder
        for atlas in sheet.atlases()
        for name, folder in trained_of(atlas).items()
    },
    "figures": {
        f"{atlas} {name}": f"{R}/figures/{atlas}/{name}.png"
        for atlas in sheet.atlases()
        for name in figures_of(atlas)
    },
}


def table_agreements(wildcards):
    """How far label sources agree, by atlas: it stands above the table of annotation."""
    return REPORT_FILES["agreements"] if wildcards.number == "2" else {}


def table_inputs(wildcards):
    """What Tables 1 to 4 show."""
    compared = list(table_agreements(wildcards).values())
    files = {"metrics": rules.collect_metrics.output.metrics}
    return {**files, "agreements": compared} if compared else files
