# Whether every method has a result, said when all else is built: the run fails where one has none.
# In:  R/metrics.tsv; what the target asks for, waited for alone
# Out: R/complete/{tables,all}.txt

TABLES = expand(
    f"{R}/tables/table{{number}}.{{format}}", number=range(1, 6), format=TABLE_FORMATS
)
BUILT = {
    "tables": TABLES,
    "all": [*TABLES, *rules.figures.input, *rules.report.input],
}


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
