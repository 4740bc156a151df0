# The genome and what aligners make of it.
# In:  the section `reference`: URLs or paths of sequence, annotation and blacklist
# Out: R/reference/{genome.fa,genome.fa.fai,genes.gtf,blacklist.bed,chrom_sizes.tsv},
#      R/reference/star/ and R/reference/bwa/ (engine open), R/reference/arc/ (cellranger-arc)


from epifoundation.acquire.hosts import place_of

SOURCES = {
    part: place_of(getattr(cfg.reference, part), f"{R}/reference/source/{part}")
    for part in ("fasta", "annotation", "blacklist")
}
# A file that is fetched is checked as it comes; one that lies here, before it is read.
LOCAL_MD5 = cfg.reference.md5 if SOURCES["fasta"] == cfg.reference.fasta else None


rule fetch_reference:
    """Fetch one file of the reference; a broken transfer goes on where it ended."""
    output:
        source=temp(f"{R}/reference/source/{{part}}/{{name}}"),
    log:
        f"{R}/logs/fetch_reference/{{part}}.{{name}}.log",
    benchmark:
        f"{R}/benchmarks/fetch_reference/{{part}}.{{name}}.tsv"
    wildcard_constraints:
        part="|".join(SOURCES),
        name="[^/]+",
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=12 * 60,
    params:
        url=lambda wildcards: getattr(cfg.reference, wildcards.part),
        md5=lambda wildcards: cfg.reference.md5 if wildcards.part == "fasta" else None,
        code=code_of("acquire/hosts.py"),
    script:
        "../workflow_scripts/fetch_reference.py"


rule build_reference:
    """Put sequence, annotation and blacklist in one form and check that they agree."""
    input:
        fasta=SOURCES["fasta"],
        annotation=SOURCES["annotation"],
        blacklist=SOURCES["blacklist"],
    output:
        fasta=f"{R}/reference/genome.fa",
        fai=f"{R}/reference/genome.fa.fai",
        gtf=f"{R}/reference/genes.gtf",
        blacklist=f"{R}/reference/blacklist.bed",
        chrom_sizes=f"{R}/reference/chrom_sizes.tsv",
    log:
        f"{R}/logs/build_reference.log",
    benchmark:
        f"{R}/benchmarks/build_reference.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        md5=LOCAL_MD5,
        chromosomes=[
            *cfg.reference.standard_chromosomes,
            cfg.reference.mitochondrial,
        ],
        code=code_of("acquire/genome.py", "acquire/annotation.py"),
    script:
        "../workflow_scripts/build_reference.py"


rule index_star:
    """Index the genome and its splice junctions for STARsolo."""
    input:
        fasta=rules.build_reference.output.fasta,
        gtf=rules.build_reference.output.gtf,
    output:
        index=directory(f"{R}/reference/star"),
    log:
        f"{R}/logs/index_star.log",
    benchmark:
        f"{R}/benchmarks/index_star.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 8
    resources:
        # STAR's suffix array: about 10 bytes a base, and what it sorts
        mem_mb=lambda wildcards, input: int(4000 + 12 * input.size_mb),
        runtime=4 * 60,
    params:
        index_bases=cfg.reference.star_index_bases,
        code=code_of("acquire/indexes.py"),
    script:
        "../workflow_scripts/index_star.py"


rule index_bwa:
    """Index the genome for bwa."""
    input:
        fasta=rules.build_reference.output.fasta,
    output:
        index=multiext(
            f"{R}/reference/bwa/genome.fa", ".amb", ".ann", ".bwt", ".pac", ".sa"
        ),
    log:
        f"{R}/logs/index_bwa.log",
    benchmark:
        f"{R}/benchmarks/index_bwa.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input: int(1000 + 2 * input.size_mb),
        runtime=4 * 60,
    params:
        code=code_of("acquire/indexes.py"),
    script:
        "../workflow_scripts/index_bwa.py"


rule unpack_arc_reference:
    """Unpack the 10x reference that Cell Ranger ARC aligns to."""
    input:
        tarball=SOURCES["fasta"],
    output:
        reference=directory(f"{R}/reference/arc"),
    log:
        f"{R}/logs/unpack_arc_reference.log",
    benchmark:
        f"{R}/benchmarks/unpack_arc_reference.tsv"
    conda:
        "../envs/epifoundation.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=120,
    params:
        md5=LOCAL_MD5,
        code=code_of("acquire/genome.py"),
    script:
        "../workflow_scripts/unpack_arc_reference.py"
