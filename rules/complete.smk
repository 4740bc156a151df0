# The targets of readers, and whether every method has a result: said when all else of a target is
# built, so that the run fails where one has none and still makes the rest.
# In:  R/metrics.tsv; what the target asks for, waited for alone
# Out: R/complete/{tables,figures,report,all}.txt

BUILT = {
    "tables": expand(
        f"{R}/tables/table{{number}}.{{format}}",
        number=range(1, 6),
        format=TABLE_FORMATS,
    ),
    "figures": [
        f"{R}/figures/{atlas}/{name}.{suffix}"
        for atlas in sheet.atlases()
        for name in figures_of(atlas)
        for suffix in ("pdf", "png")
    ],
    "report": [f"{R}/report.html", *rules.multiqc.output],
}
BUILT["all"] = [file for files in BUILT.values() for file in files]


rule tables:
    """Tables 1 to 5, in all formats."""
    input:
        BUILT["tables"],
        f"{R}/complete/tables.txt",


rule figures:
    """The paper's figures of every atlas, and those that say more of the same."""
    input:
        BUILT["figures"],
        f"{R}/complete/figures.txt",


rule report:
    """The report, and the quality control for MultiQC."""
    input:
        BUILT["report"],
        f"{R}/complete/report.txt",


rule complete:
    """Fail where a method broke down, after everything else of a target is there."""
    input:
        metrics=rules.collect_metrics.output.metrics,
        built=lambda wildcards: BUILT[wildcards.target],
    output:
        f"{R}/complete/{{target}}.txt",
    log:
        f"{R}/logs/complete/{{target}}.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_of("evaluation/completeness.py"),
    script:
        "../workflow_scripts/complete.py"
