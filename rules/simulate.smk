# A simulated multiome with planted truth, and what of it the run found again.
# In:  nothing but the seed; for recovery, called cells, peaks, labels and metrics of this run
# Out: R/simulated/ (genome, genes, profiles, whitelists, truth/, archive/), R/recovery.tsv

if cfg.simulate:

    SIMULATED = f"{R}/simulated"

    rule simulate:
        """Simulate genome, genes, reference profiles and an archive of reads, with their truth."""
        output:
            genome=f"{SIMULATED}/genome.fa.gz",
            genes=f"{SIMULATED}/genes.gtf.gz",
            blacklist=f"{SIMULATED}/blacklist.bed.gz",
            profiles=f"{SIMULATED}/profiles.tsv",
            whitelist_gex=f"{SIMULATED}/whitelist_gex.txt.gz",
            whitelist_atac=f"{SIMULATED}/whitelist_atac.txt.gz",
            # lists the FASTQ files beside it, with their checksums
            index=f"{SIMULATED}/archive/index.tsv",
            cells=f"{SIMULATED}/truth/cells.tsv",
            regions=f"{SIMULATED}/truth/regions.tsv",
            links=f"{SIMULATED}/truth/links.tsv",
            samples=f"{SIMULATED}/truth/samples.tsv",
            synonyms=f"{SIMULATED}/truth/synonyms.tsv",
            controls=f"{SIMULATED}/truth/controls.json",
        log:
            f"{R}/logs/simulate/simulate.log",
        benchmark:
            f"{R}/benchmarks/simulate/simulate.tsv"
        conda:
            "../envs/epifoundation.yaml"
        threads: 2
        resources:
            mem_mb=4000,
            runtime=30,
        params:
            folder=lambda wildcards: SIMULATED,
            simulate=params_of(cfg.simulate),
            code=code_of(
                "simulate/annotation.py",
                "simulate/archive.py",
                "simulate/cells.py",
                "simulate/controls.py",
                "simulate/design.py",
                "simulate/genome.py",
                "simulate/molecules.py",
                "simulate/planted.py",
                "simulate/profiles.py",
                "simulate/programme.py",
                "simulate/reads.py",
                "simulate/regions.py",
                "simulate/simulation.py",
                "simulate/truth.py",
            ),
        script:
            "../workflow_scripts/simulate.py"

    rule recovery:
        """Compare called cells, peaks, clusters, labels and predictions with the planted truth."""
        input:
            cells=rules.simulate.output.cells,
            regions=rules.simulate.output.regions,
            synonyms=rules.simulate.output.synonyms,
            controls=rules.simulate.output.controls,
            barcodes=[
                f"{R}/align/{row.sample}/outs/per_barcode_metrics.csv"
                for row in sheet.select(entry="fastq")
            ],
            peaks=[f"{R}/peaks/{atlas}/peaks.bed" for atlas in sheet.atlases()],
            labels=[
                f"{R}/labels/{row.atlas}/{row.sample}/labels.tsv"
                for row in sheet.select(entry="fastq")
            ],
            metrics=f"{R}/metrics.tsv",
        output:
            recovery=f"{R}/recovery.tsv",
        log:
            f"{R}/logs/recovery/recovery.log",
        conda:
            "../envs/epifoundation.yaml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            samples=[row.sample for row in sheet.select(entry="fastq")],
            code=code_of("evaluation/recovery.py", "simulate/design.py"),
        script:
            "../workflow_scripts/recovery.py"
