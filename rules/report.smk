# What a reader opens: tables, figures, the report.
# In:  R/metrics.tsv; token stores, embeddings and predictions for the figures; small tables and
#      training histories of all stages for the report
# Out: R/tables/table{1..5}.{tsv,md,tex,html}  R/figures/{atlas}/figure{1,3,4,5,6}.{pdf,png}
#      R/report.html
from functools import partial

TABLE_FORMATS = ["tsv", "md", "tex", "html"]
SHOWN = {
    "protocol": cfg.benchmark.protocols[0],
    "seed": cfg.benchmark.seeds[0],
}  # in figures
FIGURE_CODE = (
    "data/store.py",
    "evaluation/inputs.py",
    "evaluation/results.py",
    "reporting/figure_files.py",
    "reporting/figures.py",
)


def figure_datasets(figures, wildcards):
    """The data sets of a figure that the atlas has."""
    return datasets_of(wildcards.atlas, figures[wildcards.number])


def figures_of(atlas):
    """The figures for which the atlas has data sets."""
    wanted = {**cfg.benchmark.heatmap_figures, **cfg.benchmark.umap_figures}
    return sorted(["1", *(n for n, sets in wanted.items() if datasets_of(atlas, sets))])


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
    predictions = EVALUATION + "/annotation/epifoundation.parquet"
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
            EVALUATION + "/integration/{method}.parquet",
            wildcards,
            [dataset],
            method=UMAP_METHODS,
        )
    ]
    return {**files, "embeddings": embeddings} if embeddings else files


UMAP_METHODS = [m for m in cfg.benchmark.integration if m != "random"] + [
    "epifoundation"
]
REPORT_FILES = {  # by what the report says of them: caption and path
    "funnels": {
        f"{row.atlas} {row.sample}": f"{R}/matrix/{row.atlas}/{row.sample}/qc_funnel.tsv"
        for row in sheet.rows
    },
    "peaks": {atlas: f"{R}/peaks/{atlas}/summary.tsv" for atlas in sheet.atlases()},
    "stores": {
        f"{atlas} {dataset}": STORE.format(atlas=atlas, dataset=dataset)
        for atlas in sheet.atlases()
        for dataset in sheet.datasets(atlas)
    },
    "models": {
        f"{atlas} {name}": f"{R}/models/{atlas}/{path}".format(**SHOWN)
        for atlas in sheet.atlases()
        for name, path in [
            ("pretraining", "pretrain/full.seed{seed}"),
            *(
                (
                    f"{task} {dataset}",
                    f"finetune_{task}/{dataset}/full.{{protocol}}.seed{{seed}}",
                )
                for task in ("cell_type", "expression")
                for dataset in sheet.datasets(atlas)
            ),
        ]
    },
    "figures": {
        f"{atlas}, figure {number}": f"{R}/figures/{atlas}/figure{number}.png"
        for atlas in sheet.atlases()
        for number in figures_of(atlas)
    },
}


rule table:
    """Lay out one table of results from the metrics."""
    input:
        metrics=rules.collect_metrics.output.metrics,
    output:
        **{name: f"{R}/tables/table{{number}}.{name}" for name in TABLE_FORMATS},
    log:
        R + "/logs/table/{number}.log",
    wildcard_constraints:
        number="[1-4]",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        printed_comparable=cfg.benchmark.printed_comparable,
        code=code_of(
            "reporting/layouts.py",
            "reporting/page.py",
            "reporting/printed.py",
            "reporting/tables.py",
        ),
    script:
        "../workflow_scripts/table.py"


rule table_settings:
    """Lay out Table 5 from the configuration."""
    output:
        **{name: f"{R}/tables/table5.{name}" for name in TABLE_FORMATS},
    log:
        R + "/logs/table/5.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        sections={
            name: params_of(getattr(cfg, name))
            for name in (
                "model",
                "pretrain",
                "finetune_cell_type",
                "finetune_expression",
            )
        },
        code=code_of("reporting/page.py", "reporting/printed.py", "reporting/tables.py"),
    script:
        "../workflow_scripts/table_settings.py"


rule figure_atlas:
    """Draw Figure 1: all cells of an atlas by tissue and by type."""
    input:
        store=R + "/atlas/{atlas}/store/ALLTissue",
        embedding=(EVALUATION + "/integration/epifoundation.parquet")
        .replace("{dataset}", "ALLTissue")
        .replace("{protocol}", SHOWN["protocol"])
        .replace("{seed}", str(SHOWN["seed"])),
    output:
        pdf=R + "/figures/{atlas}/figure1.pdf",
        png=R + "/figures/{atlas}/figure1.png",
    log:
        R + "/logs/figure/{atlas}.1.log",
    benchmark:
        R + "/benchmarks/figure/{atlas}.1.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=16000,
        runtime=120,
    params:
        code=code_of(*FIGURE_CODE),
    script:
        "../workflow_scripts/figure_atlas.py"


rule figure_heatmap:
    """Draw Figure 3 or 6: softmax scores of the test cells by type."""
    input:
        unpack(heatmap_inputs),
    output:
        pdf=R + "/figures/{atlas}/figure{number}.pdf",
        png=R + "/figures/{atlas}/figure{number}.png",
    log:
        R + "/logs/figure/{atlas}.{number}.log",
    wildcard_constraints:
        number=any_of(cfg.benchmark.heatmap_figures),
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        datasets=partial(figure_datasets, cfg.benchmark.heatmap_figures),
        code=code_of(*FIGURE_CODE),
    script:
        "../workflow_scripts/figure_heatmap.py"


rule figure_methods:
    """Draw Figure 4 or 5: the test cells as each method embeds them."""
    input:
        unpack(methods_inputs),
    output:
        pdf=R + "/figures/{atlas}/figure{number}.pdf",
        png=R + "/figures/{atlas}/figure{number}.png",
    log:
        R + "/logs/figure/{atlas}.{number}.log",
    benchmark:
        R + "/benchmarks/figure/{atlas}.{number}.tsv"
    wildcard_constraints:
        number=any_of(cfg.benchmark.umap_figures),
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=16000,
        runtime=120,
    params:
        datasets=partial(figure_datasets, cfg.benchmark.umap_figures),
        methods=UMAP_METHODS,
        code=code_of(*FIGURE_CODE),
    script:
        "../workflow_scripts/figure_methods.py"


rule write_report:
    """Write the report of the run, one page that needs no other file."""
    input:
        **{part: list(files.values()) for part, files in REPORT_FILES.items()},
        **({"recovery": R + "/recovery.tsv"} if cfg.simulate else {}),
        tables=expand(R + "/tables/table{number}.html", number=range(1, 6)),
    output:
        report=R + "/report.html",
    log:
        R + "/logs/write_report.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        names={part: list(files) for part, files in REPORT_FILES.items()},
        samples=[asdict(row) for row in sheet.rows],
        cfg=params_of(cfg),
        benchmarks=R + "/benchmarks",
        code=code_of(
            "reporting/page.py",
            "reporting/report.py",
            "reporting/report_template.html",
        ),
    script:
        "../workflow_scripts/write_report.py"


rule tables:
    """Tables 1 to 5, in all formats."""
    input:
        expand(
            R + "/tables/table{number}.{format}",
            number=range(1, 6),
            format=TABLE_FORMATS,
        ),


rule figures:
    """The paper's figures of every atlas."""
    input:
        [
            f"{R}/figures/{atlas}/figure{number}.{suffix}"
            for atlas in sheet.atlases()
            for number in figures_of(atlas)
            for suffix in ("pdf", "png")
        ],


rule report:
    """The report."""
    input:
        R + "/report.html",
