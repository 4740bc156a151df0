from pathlib import Path

from snakemake.utils import min_version

from epifoundation.config import load_config

min_version("9.20")


configfile: Path(workflow.basedir, "config.yaml")


cfg = load_config(config)


include: "rules/common.smk"
include: "rules/simulate.smk"
include: "rules/acquire.smk"
include: "rules/reference.smk"
include: "rules/align.smk"
include: "rules/peaks.smk"
include: "rules/matrix.smk"
include: "rules/label.smk"
include: "rules/atlas.smk"
include: "rules/pretrain.smk"
include: "rules/finetune.smk"
include: "rules/benchmark.smk"
include: "rules/report.smk"
include: "rules/complete.smk"
include: "rules/plan.smk"


localrules:
    all,
    miniatlas,
    clusters,
    tables,
    figures,
    report,
    resolve,  # beside one another, so that all together keep to what archives allow


rule all:
    """Everything: tables, figures and the report."""
    default_target: True
    input:
        BUILT["all"],
        f"{R}/complete/all.txt",
        rules.compare_methods.output,
