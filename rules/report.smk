# What a reader opens: tables, figures, the report.
# In:  R/metrics.tsv; token stores, embeddings and predictions for the figures; small tables and
#      training histories of all stages for the report
# Out: R/tables/table{1..5}.{tsv,md,tex,html}  R/figures/{atlas}/figure{1,3,4,5,6}.{pdf,png}
#      R/figures/{atlas}/{ablation,ranks,confusion,calibration,genes,training_curves}.{pdf,png}
#      R/report.html  R/multiqc/epifoundation_{cells,criteria}_mqc.json


include: "shown.smk"


rule table:
    """Lay out one table of results from the metrics."""
    input:
        unpack(table_inputs),
    output:
        **{name: f"{R}/tables/table{{number}}.{name}" for name in PLAIN_FORMATS},
        html=report(
            f"{R}/tables/table{{number}}.html",
            caption="captions/table.rst",
            category="Tables",
            labels={"table": "{number}"},
        ),
    log:
        f"{R}/logs/table/{{number}}.log",
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
        atlases=lambda wildcards: list(table_agreements(wildcards)),
        code=code_of(*TABLE_CODE, "reporting/names.py", "reporting/tables.py"),
    script:
        "../workflow_scripts/table.py"


rule table_settings:
    """Lay out Table 5 from the configuration."""
    output:
        **{name: f"{R}/tables/table5.{name}" for name in PLAIN_FORMATS},
        html=report(
            f"{R}/tables/table5.html",
            caption="captions/table.rst",
            category="Tables",
            labels={"table": "5"},
        ),
    log:
        f"{R}/logs/table/5.log",
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
        code=code_of(*TABLE_CODE, "reporting/settings.py", "training/loop.py"),
    script:
        "../workflow_scripts/table_settings.py"


rule figure_atlas:
    """Draw Figure 1: all cells of an atlas by tissue and by type."""
    input:
        store=f"{R}/atlas/{{atlas}}/store/ALLTissue",
        embedding=(f"{EVALUATION}/integration/epifoundation.parquet")
        .replace("{dataset}", "ALLTissue")
        .replace("{protocol}", SHOWN["protocol"])
        .replace("{seed}", str(SHOWN["seed"])),
    output:
        pdf=f"{R}/figures/{{atlas}}/figure1.pdf",
        png=report(
            f"{R}/figures/{{atlas}}/figure1.png",
            caption="captions/figure_atlas.rst",
            category="Figures of the paper",
            labels={"atlas": "{atlas}", "figure": "figure1"},
        ),
    log:
        f"{R}/logs/figure/{{atlas}}.1.log",
    benchmark:
        f"{R}/benchmarks/figure/{{atlas}}.1.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(3000, 40),
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
        pdf=f"{R}/figures/{{atlas}}/figure{{number}}.pdf",
        png=report(
            f"{R}/figures/{{atlas}}/figure{{number}}.png",
            caption="captions/figure_heatmap.rst",
            category="Figures of the paper",
            labels={"atlas": "{atlas}", "figure": "figure{number}"},
        ),
    log:
        f"{R}/logs/figure/{{atlas}}.{{number}}.log",
    wildcard_constraints:
        number=any_of(cfg.benchmark.heatmap_figures),
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(2000, 10),
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
        pdf=f"{R}/figures/{{atlas}}/figure{{number}}.pdf",
        png=report(
            f"{R}/figures/{{atlas}}/figure{{number}}.png",
            caption="captions/figure_methods.rst",
            category="Figures of the paper",
            labels={"atlas": "{atlas}", "figure": "figure{number}"},
        ),
    log:
        f"{R}/logs/figure/{{atlas}}.{{number}}.log",
    benchmark:
        f"{R}/benchmarks/figure/{{atlas}}.{{number}}.tsv"
    wildcard_constraints:
        number=any_of(cfg.benchmark.umap_figures),
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(3000, 40),
        runtime=120,
    params:
        datasets=partial(figure_datasets, cfg.benchmark.umap_figures),
        methods=UMAP_METHODS,
        code=code_of(*FIGURE_CODE),
    script:
        "../workflow_scripts/figure_methods.py"


rule figure_training:
    """Draw the loss of pretraining and of each fine-tuning by epoch."""
    input:
        models=lambda wildcards: trained_of(wildcards.atlas).values(),
    output:
        pdf=f"{R}/figures/{{atlas}}/training_curves.pdf",
        png=report(
            f"{R}/figures/{{atlas}}/training_curves.png",
            caption="captions/figure_training.rst",
            category="Further figures",
            labels={"atlas": "{atlas}", "figure": "training_curves"},
        ),
    log:
        f"{R}/logs/figure/{{atlas}}.training_curves.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        names=lambda wildcards: list(trained_of(wildcards.atlas)),
        code=code_of("reporting/curves.py", "reporting/figures.py"),
    script:
        "../workflow_scripts/figure_training.py"


rule figure_ablation:
    """Draw what each ablation changes, metric by metric."""
    input:
        metrics=rules.collect_metrics.output.metrics,
    output:
        pdf=f"{R}/figures/{{atlas}}/ablation.pdf",
        png=report(
            f"{R}/figures/{{atlas}}/ablation.png",
            caption="captions/figure_ablation.rst",
            category="Further figures",
            labels={"atlas": "{atlas}", "figure": "ablation"},
        ),
    log:
        f"{R}/logs/figure/{{atlas}}.ablation.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_of(*TABLE_CODE, *METRIC_FIGURE_CODE),
    script:
        "../workflow_scripts/figure_ablation.py"


rule figure_ranks:
    """Draw how methods rank, metric by metric."""
    input:
        metrics=rules.collect_metrics.output.metrics,
    output:
        pdf=f"{R}/figures/{{atlas}}/ranks.pdf",
        png=report(
            f"{R}/figures/{{atlas}}/ranks.png",
            caption="captions/figure_ranks.rst",
            category="Further figures",
            labels={"atlas": "{atlas}", "figure": "ranks"},
        ),
    log:
        f"{R}/logs/figure/{{atlas}}.ranks.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_of(*TABLE_CODE, *METRIC_FIGURE_CODE),
    script:
        "../workflow_scripts/figure_ranks.py"


rule figure_confusion:
    """Draw which types EpiFoundation takes for which."""
    input:
        unpack(prediction_inputs("annotation/epifoundation.parquet")),
    output:
        pdf=f"{R}/figures/{{atlas}}/confusion.pdf",
        png=report(
            f"{R}/figures/{{atlas}}/confusion.png",
            caption="captions/figure_confusion.rst",
            category="Further figures",
            labels={"atlas": "{atlas}", "figure": "confusion"},
        ),
    log:
        f"{R}/logs/figure/{{atlas}}.confusion.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(2000, 10),
        runtime=30,
    params:
        datasets=lambda wildcards: shown_datasets(wildcards.atlas),
        code=code_of(*FIGURE_CODE),
    script:
        "../workflow_scripts/figure_confusion.py"


rule figure_calibration:
    """Draw how often the predicted type is right, by its score."""
    input:
        unpack(prediction_inputs("annotation/{method}.parquet", CALIBRATED)),
    output:
        pdf=f"{R}/figures/{{atlas}}/calibration.pdf",
        png=report(
            f"{R}/figures/{{atlas}}/calibration.png",
            caption="captions/figure_calibration.rst",
            category="Further figures",
            labels={"atlas": "{atlas}", "figure": "calibration"},
        ),
    log:
        f"{R}/logs/figure/{{atlas}}.calibration.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(2000, 10),
        runtime=30,
    params:
        datasets=lambda wildcards: shown_datasets(wildcards.atlas),
        methods=CALIBRATED,
        code=code_of(*FIGURE_CODE),
    script:
        "../workflow_scripts/figure_calibration.py"


rule figure_genes:
    """Draw predicted against true levels of some genes."""
    input:
        unpack(prediction_inputs("expression/epifoundation.h5ad")),
        vocabulary=f"{R}/atlas/{{atlas}}/vocabulary",
    output:
        pdf=f"{R}/figures/{{atlas}}/genes.pdf",
        png=report(
            f"{R}/figures/{{atlas}}/genes.png",
            caption="captions/figure_genes.rst",
            category="Further figures",
            labels={"atlas": "{atlas}", "figure": "genes"},
        ),
    log:
        f"{R}/logs/figure/{{atlas}}.genes.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb(2000, 40),
        runtime=30,
    params:
        datasets=lambda wildcards: shown_datasets(wildcards.atlas),
        shown_genes=cfg.benchmark.shown_genes,
        n_bins=cfg.benchmark.n_bins,
        code=code_of(*FIGURE_CODE, "data/expression.py", "data/vocabulary.py"),
    script:
        "../workflow_scripts/figure_genes.py"


rule multiqc:
    """Write the quality control of all samples for MultiQC."""
    input:
        funnels=list(REPORT_FILES["funnels"].values()),
    output:
        cells=f"{R}/multiqc/epifoundation_cells_mqc.json",
        criteria=f"{R}/multiqc/epifoundation_criteria_mqc.json",
    log:
        f"{R}/logs/multiqc.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        names=list(REPORT_FILES["funnels"]),
        code=code_of("reporting/multiqc.py"),
    script:
        "../workflow_scripts/multiqc.py"


rule write_report:
    """Write the report of the run, one page that needs no other file."""
    input:
        **{part: list(files.values()) for part, files in REPORT_FILES.items()},
        **({"recovery": f"{R}/recovery.tsv"} if cfg.simulate else {}),
        metrics=rules.collect_metrics.output.metrics,
        comparisons=rules.compare_methods.output.comparisons,
        tables=expand(f"{R}/tables/table{{number}}.html", number=range(1, 6)),
    output:
        report=f"{R}/report.html",
    log:
        f"{R}/logs/write_report.log",
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
        benchmarks=f"{R}/benchmarks",
        code=code_of(
            *TABLE_CODE,
            "reporting/captions.py",
            "reporting/data_sections.py",
            "reporting/names.py",
            "reporting/report.py",
            "reporting/report_template.html",
            "reporting/run_sections.py",
            "reporting/sections.py",
        ),
    script:
        "../workflow_scripts/write_report.py"
