# From accessions to reads.
# In:  the sample sheet; archives, or a catalogue (with `simulate`: the simulated one)
# Out: R/acquire/{sample}/{manifest,reads}.tsv, R/fastq/{sample}/

# The allowed barcodes, by which it is told which reads hold them; null: the package's own.
BARCODE_LISTS = {
    "whitelist_gex": local_or_url(cfg.align.whitelist_gex),
    "whitelist_atac": local_or_url(cfg.align.whitelist_atac),
}


rule resolve:
    """List a sample's files: address, size, checksum, role and route of each."""
    input:
        **BARCODE_LISTS,
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
            "acquire/addresses.py",
            "acquire/catalogue.py",
            "acquire/content.py",
            "acquire/encode.py",
            "acquire/geo.py",
            "acquire/locator.py",
            "acquire/resolve.py",
            "acquire/roles.py",
            "acquire/routes.py",
        ),
    script:
        "../workflow_scripts/resolve.py"


rule download:
    """Fetch, verify and unpack a sample's reads; what arrived before a failure is kept."""
    input:
        **BARCODE_LISTS,
        manifest=rules.resolve.output.manifest,
    output:
        reads=f"{R}/acquire/{{sample}}/reads.tsv",
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
    threads: 4
    resources:
        mem_mb=4000 if cfg.simulate is None else 1000,  # fasterq-dump and bamtofastq
        runtime=48 * 60,
    params:
        code=code_of(
            "acquire/content.py",
            "acquire/download.py",
            "acquire/roles.py",
            "acquire/unpack.py",
        ),
    script:
        "../workflow_scripts/download.py"
