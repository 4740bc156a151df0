# Clusters of each sample, and their cell types from DISCO's profiles of the tissue.
# Input: cells.h5mu of a sample. Output: clustered.h5mu and labels.tsv.


def profiles_file():
    """The profiles as an input: the configured path, or where its URL is downloaded to."""
    if local_or_url(cfg.labels.profiles):
        return cfg.labels.profiles
    suffix = "csv" if "csv" in (cfg.labels.profiles or "") else "tsv"
    return f"{R}/reference/profiles.{suffix}"


rule fetch_profiles:
    """Download the expression profiles of known cell types."""
    output:
        profiles=R + "/reference/profiles.{suffix}",
    log:
        R + "/logs/fetch_profiles/{suffix}.log",
    benchmark:
        R + "/benchmarks/fetch_profiles/{suffix}.tsv"
    wildcard_constraints:
        suffix="csv|tsv",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        url=cfg.labels.profiles,
        retries=cfg.acquire.retries,
    script:
        "../workflow_scripts/fetch_profiles.py"


rule cluster:
    """Cluster the cells of a sample over both modalities."""
    input:
        cells=R + "/matrix/{atlas}/{sample}/cells.h5mu",
    output:
        clustered=R + "/labels/{atlas}/{sample}/clustered.h5mu",
    log:
        R + "/logs/cluster/{atlas}.{sample}.log",
    benchmark:
        R + "/benchmarks/cluster/{atlas}.{sample}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=16000,
        runtime=60,
    params:
        cluster=params_of(cfg.cluster),
        code=code_of(
            "data/clusters.py",
            "data/expression.py",
            "data/latent.py",
            "data/louvain.py",
            "data/neighbors.py",
        ),
    script:
        "../workflow_scripts/cluster.py"


rule label:
    """Give each cluster the cell type whose profile its mean expression follows best."""
    input:
        clustered=R + "/labels/{atlas}/{sample}/clustered.h5mu",
        profiles=profiles_file(),
    output:
        labels=R + "/labels/{atlas}/{sample}/labels.tsv",
    log:
        R + "/logs/label/{atlas}.{sample}.log",
    benchmark:
        R + "/benchmarks/label/{atlas}.{sample}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        labels=params_of(cfg.labels),
        disco_atlas=lambda wildcards: sheet.one(
            wildcards.sample, wildcards.atlas
        ).disco_atlas,
        code=code_of("contracts.py", "data/expression.py", "data/labels.py"),
    script:
        "../workflow_scripts/label.py"


rule clusters:
    """The clusters of every sample."""
    input:
        [f"{R}/labels/{row.atlas}/{row.sample}/clustered.h5mu" for row in sheet.rows],
