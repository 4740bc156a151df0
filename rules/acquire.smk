# From accessions to reads.
# In:  the sample sheet; archives, or a catalogue (with `simulate`: the simulated one)
# Out: R/acquire/{sample}/manifest.tsv, R/fastq/{sample}/


rule resolve:
    """List a sample's FASTQ files: address, size, checksum and role of each."""
    input:
        index=f"{R}/simulated/archive/index.tsv" if cfg.simulate else [],
    output:
        manifest=f"{R}/acquire/{{sample}}/manifest.tsv",
    log:
        f"{R}/logs/resolve/{{sample}}.log",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        # what decides which files are fetched; the rest of the row may change freely
        accessions=lambda wildcards: {
            name: getattr(sheet.one(wildcards.sample), name)
            for name in ("sample", "source", "rna", "atac")
        },
        catalogue=lambda wildcards: cfg.acquire.catalogue,
        code=code_of(
            "acquire/catalogue.py",
            "acquire/encode.py",
            "acquire/geo.py",
            "acquire/resolve.py",
            "acquire/roles.py",
        ),
    script:
        "../workflow_scripts/resolve.py"


rule download:
    """Fetch and verify a sample's FASTQ files; what arrived before a failure is kept."""
    input:
        manifest=rules.resolve.output.manifest,
    output:
        # checked against the manifest's sums, so no code of ours decides what is in it
        fastq=(
            directory(f"{R}/fastq/{{sample}}")
            if cfg.acquire.keep_fastq
            else temp(directory(f"{R}/fastq/{{sample}}"))
        ),
    log:
        f"{R}/logs/download/{{sample}}.log",
    benchmark:
        f"{R}/benchmarks/download/{{sample}}.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=24 * 60,
    params:
        code=code_of("acquire/download.py"),
    script:
        "../workflow_scripts/download.py"
