# Reads to counts and fragments, one job per sample, in the layout of Cell Ranger ARC's outs/.
# align.engine chooses the engine; what comes after cannot tell which one ran.

ALIGNED = {
    "filtered": f"{R}/align/{{sample}}/outs/filtered_feature_bc_matrix.h5",
    "raw": f"{R}/align/{{sample}}/outs/raw_feature_bc_matrix.h5",
    "fragments": f"{R}/align/{{sample}}/outs/atac_fragments.tsv.gz",
    "fragments_index": f"{R}/align/{{sample}}/outs/atac_fragments.tsv.gz.tbi",
    "metrics": f"{R}/align/{{sample}}/outs/per_barcode_metrics.csv",
    "summary": f"{R}/align/{{sample}}/outs/summary.csv",
}

if cfg.align.engine == "open":

    rule align_open:
        """Count genes with STARsolo, make fragments with bwa, and call cells on both."""
        input:
            reads=f"{R}/acquire/{{sample}}/reads.tsv",
            fastq=f"{R}/fastq/{{sample}}",
            star=f"{R}/reference/star",
            bwa=multiext(
                f"{R}/reference/bwa/genome.fa", ".amb", ".ann", ".bwt", ".pac", ".sa"
            ),
            whitelist_gex=local_or_url(cfg.align.whitelist_gex),
            whitelist_atac=local_or_url(cfg.align.whitelist_atac),
        output:
            **ALIGNED,
        log:
            f"{R}/logs/align_open/{{sample}}.log",
        benchmark:
            f"{R}/benchmarks/align_open/{{sample}}.tsv"
        conda:
            "../envs/epifoundation.yaml"
        threads: 8
        resources:
            mem_mb=48000 if cfg.simulate is None else 3000,  # STAR's human index takes 32 GB
            runtime=1440,
        params:
            align=params_of(cfg.align),
            genome="GRCh38" if cfg.simulate is None else "simulated",
            mitochondrial=cfg.reference.mitochondrial,
            code=code_of(
                "align/open_engine.py",
                "align/fastq.py",
                "align/barcodes.py",
                "align/gex.py",
                "align/atac.py",
                "align/sam.py",
                "align/multiplets.py",
                "align/calling.py",
                "align/layout.py",
            ),
        script:
            "../workflow_scripts/align_open.py"

else:

    rule align_cellranger_arc:
        """Run Cell Ranger ARC 2.0 and keep what later steps read."""
        input:
            reads=f"{R}/acquire/{{sample}}/reads.tsv",
            fastq=f"{R}/fastq/{{sample}}",
            reference=f"{R}/reference/arc",
        output:
            **ALIGNED,
        log:
            f"{R}/logs/align_cellranger_arc/{{sample}}.log",
        benchmark:
            f"{R}/benchmarks/align_cellranger_arc/{{sample}}.tsv"
        conda:
            "../envs/epifoundation.yaml"
        threads: 16
        resources:
            mem_mb=128000,  # 10x asks for 64 GB at least; labs give 80-200
            runtime=4320,
        params:
            program=cfg.align.cellranger_arc,
            code=code_of("align/cellranger_arc.py", "align/fastq.py"),
        script:
            "../workflow_scripts/align_cellranger_arc.py"
