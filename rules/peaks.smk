# The peak set of each atlas.
# In:  fragments of the atlas samples (peaks.pool: all adds the evaluation samples), and with
#      peaks.calls: cluster the RNA clusters of these samples; or peaks.frozen, a BED; or, where all
#      atlas samples are paired matrices, their own peaks. Chromosome lengths where a genome is built
# Out: R/peaks/{atlas}/peaks.bed (0-based, half-open; name, score) and summary.tsv


include: "inputs.smk"


PEAKS = {
    "peaks": f"{R}/peaks/{{atlas}}/peaks.bed",
    "summary": f"{R}/peaks/{{atlas}}/summary.tsv",
}
SHARED = [atlas for atlas in sheet.atlases() if made_of_matrices(atlas)]
CALLED = [atlas for atlas in sheet.atlases() if atlas not in SHARED]
CHROM_SIZES = f"{R}/reference/chrom_sizes.tsv" if cfg.reference.fasta else []
PEAK_CODE = (
    "contracts.py",
    "data/gzipped.py",
    "data/intervals.py",
    "data/peaks.py",
    "data/regions.py",
)
GIVEN_CODE = (*PEAK_CODE, "data/given_peaks.py", "data/peak_files.py")


if cfg.peaks.frozen:

    rule take_peaks:
        """Take the given peak set as it is."""
        input:
            bed=local_path(cfg.peaks.frozen),
            chrom_sizes=CHROM_SIZES,
        output:
            **PEAKS,
        log:
            f"{R}/logs/take_peaks/{{atlas}}.log",
        conda:
            "../envs/epifoundation.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=20,
        params:
            standard_chromosomes=cfg.reference.standard_chromosomes,
            code=code_of(*GIVEN_CODE),
        script:
            "../workflow_scripts/take_peaks.py"

else:

    rule call_peaks:
        """Call peaks on the fragments with MACS2, as Signac's CallPeaks."""
        input:
            fragments=lambda wildcards: [
                fragments_of(sample) for sample in pooled_samples(wildcards.atlas)
            ],
            blacklist=blacklist_file(),
            chrom_sizes=CHROM_SIZES,
            clusters=rna_clusters,
        output:
            **PEAKS,
        log:
            f"{R}/logs/call_peaks/{{atlas}}.log",
        benchmark:
            f"{R}/benchmarks/call_peaks/{{atlas}}.tsv"
        wildcard_constraints:
            atlas=any_of(CALLED),
        conda:
            "../envs/epifoundation.yaml"
        threads: 4
        resources:
            mem_mb=calling_mb,
            runtime=lambda wildcards, input: int(60 + min(input.size_mb / 30, 47 * 60)),
        params:
            peaks=params_of(cfg.peaks),
            samples=lambda wildcards: pooled_samples(wildcards.atlas),
            standard_chromosomes=cfg.reference.standard_chromosomes,
            code=code_of(
                *PEAK_CODE,
                *FRAGMENT_CODE,
                "data/groups.py",
                "data/macs.py",
                "data/pool.py",
                "data/starts.py",
            ),
        script:
            "../workflow_scripts/call_peaks.py"

    rule share_peaks:
        """Take the peaks that the paired matrices of an atlas share."""
        input:
            cells=lambda wildcards: [
                f"{R}/matrix/{row.atlas}/{row.sample}/cells.h5mu"
                for row in sheet.select(atlas=wildcards.atlas, role="atlas")
            ],
        output:
            **PEAKS,
        log:
            f"{R}/logs/share_peaks/{{atlas}}.log",
        wildcard_constraints:
            atlas=any_of(SHARED),
        conda:
            "../envs/epifoundation.yaml"
        threads: 1
        resources:
            mem_mb=memory_mb(2000, 1),  # names of peaks, no counts
            runtime=60,
        params:
            samples=lambda wildcards: [
                row.sample for row in sheet.select(atlas=wildcards.atlas, role="atlas")
            ],
            code=code_of(*GIVEN_CODE, "data/multiome_rows.py"),
        script:
            "../workflow_scripts/share_peaks.py"
