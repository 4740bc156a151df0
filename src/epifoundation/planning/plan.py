"""The plan of a run: a table of its jobs with what each takes, and a page that sums it up."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from epifoundation.config import Config
from epifoundation.files import whole
from epifoundation.planning.costs import OTHER_HOURS, Cost, measured_hours, read_costs
from epifoundation.planning.dry_run import Job, jobs_of_dry_run
from epifoundation.planning.sizes import Sizes, size_on_disk
from epifoundation.samples import Sample, SampleSheet

SIMULATED = 0.005  # share of the human genome, and of a model over all its peaks
SIMULATED_ALIGNMENT = 0.04  # of the hours that a GB of reads takes on the human genome
PAPER_MODEL = 6 * 512**2 * 12_000  # layers x width^2 x peaks of a cell, of which costs were taken


def cost_of_jobs(
    jobs: Sequence[Job], sheet: SampleSheet, cfg: Config, stages: Mapping[str, str], recorded: Path
) -> pd.DataFrame:
    """Return a row per job: stage, rule, wildcards, reason, and what it takes."""
    results = Path(cfg.results_dir)
    sizes = Sizes(sheet, results, simulated=cfg.simulate is not None)
    model = cfg.model.n_layers * cfg.model.d_model**2 * cfg.model.max_peaks / PAPER_MODEL
    costs = read_costs(recorded, cfg.training.device)
    epochs = {
        "pretrain": cfg.pretrain.epochs,
        "finetune_cell_type": cfg.finetune_cell_type.epochs,
        "finetune_expression": cfg.finetune_expression.epochs,
    }
    measured = {rule: measured_hours(results, rule) for rule in {job.rule for job in jobs}}
    rows = []
    for job in jobs:
        cost = costs.get(job.rule, Cost("job", OTHER_HOURS, 0, 0, 0, "assumed"))
        samples = _samples_of(job, sheet)
        cells = sum(map(sizes.cells, samples))
        units = {
            "job": 1.0,
            "gb": sum(map(sizes.reads_gb, samples)),
            "cell": float(cells),
            "cell_epoch": float(cells * epochs.get(job.rule, 1)),
        }[cost.per]
        size = model if cost.is_of_model else 1.0
        if cfg.simulate:
            size *= {"job": SIMULATED, "gb": SIMULATED_ALIGNMENT}.get(cost.per, 1.0)
        space = 1.0 if cost.per == "cell_epoch" else units
        if cfg.simulate and cost.per in ("job", "cell_epoch"):
            space *= SIMULATED  # its genome and models are small
        kept = size_on_disk(job.outputs) if cost.kept_gb else 0.0
        own = measured[job.rule]
        rows.append(
            {
                "stage": stages.get(job.rule, ""),
                "rule": job.rule,
                "job": " ".join(job.wildcards.values()),
                "reason": job.reason,
                "download_gb": sum(map(sizes.download_gb, samples)) * (job.rule == "download"),
                "cpu_hours": own if own is not None else size * units * cost.cpu_hours,
                "gpu_hours": size * units * cost.gpu_hours,
                "kept_gb": kept or space * cost.kept_gb,
                "scratch_gb": space * cost.scratch_gb,
                "source": "this run's benchmarks" if own is not None else cost.source,
                "is_recorded": own is not None or cost.is_recorded,
            }
        )
    order = {stage: number for number, stage in enumerate(dict.fromkeys(stages.values()))}
    table = pd.DataFrame(rows)
    table = table.sort_values("stage", key=lambda s: s.map(order), kind="stable", ignore_index=True)
    tarball = table["rule"].eq("fetch_reference") & ("refdata" in str(cfg.reference.fasta))
    small = tarball & tarball.duplicated()  # of its files one is the tarball
    table.loc[tarball & ~small, "download_gb"] = costs["fetch_reference"].scratch_gb
    table.loc[table["rule"].eq("fetch_reference") & ~(tarball & ~small), "scratch_gb"] = 0.0
    if cfg.acquire.keep_fastq:
        here = table["rule"].eq("download")
        table.loc[here, "kept_gb"] += table.loc[here, "scratch_gb"]
        table.loc[here, "scratch_gb"] = 0.0
    return table


def _samples_of(job: Job, sheet: SampleSheet) -> list[Sample]:
    """Return the samples a job works on: one, those of a data set, or the atlas's own."""
    atlas = job.wildcards.get("atlas")
    if sample := job.wildcards.get("sample"):
        return [sheet.one(sample, atlas)]
    if atlas and (dataset := job.wildcards.get("dataset")):
        return sheet.members(atlas, dataset)
    return sheet.select(atlas=atlas, role="atlas") if atlas else []


def printed(table: pd.DataFrame, sheet: SampleSheet, cfg: Config) -> str:
    """Return the plan as a page of text: costs by stage and rule, disk, and cautions."""
    sizes = Sizes(sheet, Path(cfg.results_dir), simulated=cfg.simulate is not None)
    lines = [_line("stage", "jobs", "why", "fetch GB", "CPU h", "GPU h", "disk GB"), "-" * 100]
    for stage, of_stage in table.groupby("stage", sort=False):
        lines.append(_total(str(stage).upper(), of_stage))
        for rule, jobs in of_stage.groupby("rule", sort=False):
            lines.append(_total(f"  {rule}", jobs))
    lines += ["-" * 100, _total("TOTAL", table), ""]
    kept, scratch = table["kept_gb"].sum(), table["scratch_gb"].sum()
    reads = table.loc[table["rule"].eq("download"), "scratch_gb"]
    lines.append(
        f"Disk at the peak: {kept + scratch:,.0f} GB, with all reads here at once, since downloads"
        f" run ahead of alignment; {kept + scratch - reads.sum() + reads.max():,.0f} GB one sample"
        f" at a time. Kept at the end: {kept:,.0f} GB."
        if len(reads)
        else f"Disk at the peak: {kept + scratch:,.1f} GB. Kept at the end: {kept:,.1f} GB."
    )
    guessed = sum(not sizes.is_known(row) for row in _with_reads(table, sheet))
    if guessed:
        source = "as simulated" if cfg.simulate else "the mean of those known"
        lines.append(
            f"Reads of {guessed} samples have no known size before `resolve`; each is taken for"
            f" {sizes.typical_gb:.2g} GB, {source}."
        )
    lines.append(
        "Hours of rules marked * are estimates, explained in column `source` of plan.tsv; the"
        " others were measured, in this run or in the benchmarks kept with the code."
    )
    return "\n".join([*lines, "", *cautions(sheet)])


def _with_reads(table: pd.DataFrame, sheet: SampleSheet) -> list[Sample]:
    names = set(table.loc[table["rule"].eq("download"), "job"])
    return [row for row in sheet.rows if row.sample in names]


def _total(name: str, jobs: pd.DataFrame) -> str:
    reasons = Counter(jobs["reason"])
    listed = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common(2))
    why = next(iter(reasons)) if len(reasons) == 1 else listed
    sums = jobs[["download_gb", "cpu_hours", "gpu_hours"]].sum()
    disk = jobs["kept_gb"].sum() + jobs["scratch_gb"].sum()
    mark = "*" if name.startswith("  ") and not jobs["is_recorded"].all() else ""
    return _line(name + mark, len(jobs), why, *(_number(x) for x in sums), _number(disk))


def _number(value: float) -> str:
    return "" if value == 0 else f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}"


def _line(stage: object, jobs: object, why: object, *numbers: object) -> str:
    """Return a line of the table; downloads and disk in GB."""
    return f"{stage!s:<32}{jobs!s:>5}  {why!s:<30.30}" + "".join(f"{n!s:>10}" for n in numbers)


def cautions(sheet: SampleSheet) -> list[str]:
    """Return a line for each sample that has a caution, those with a choice of ours first."""
    told = sorted((row for row in sheet.rows if row.caution), key=lambda row: not row.assumed)
    assumed = sum(row.assumed for row in told)
    if not told:
        return [f"{len(sheet.rows)} samples, none with a caution."]
    title = f"{len(sheet.rows)} samples, {len(told)} with cautions, {assumed} of them ASSUMED:"
    return [title] + [
        f"  {'ASSUMED ' if row.assumed else ''}{row.sample} ({row.dataset or 'atlas'}"
        f"{f', evidence {row.evidence}' if row.evidence else ''}): {row.caution}"
        for row in told
    ]


def tell(
    arguments: Sequence[str],
    sheet: SampleSheet,
    cfg: Config,
    *,
    stages: Mapping[str, str],
    recorded: Path,
    folder: Path,
) -> None:
    """Print the plan of a run and write it to `plan.tsv` (a row per job) and `plan.txt`.

    `arguments` are those of Snakemake, `stages` the part of the workflow each rule belongs to, and
    `recorded` the folder of benchmarks; `folder` is where Snakemake was called.
    """
    jobs = [job for job in jobs_of_dry_run(arguments, folder) if job.rule in stages]
    if not jobs:
        nothing = "Nothing to be done: all that is asked for is there and up to date."
        sys.stdout.write("\n".join([nothing, "", *cautions(sheet), ""]))
        return
    table = cost_of_jobs(jobs, sheet, cfg, stages, recorded)
    page = printed(table, sheet, cfg)
    results = Path(cfg.results_dir)
    with whole(results / "plan.tsv") as partial:
        table.round(5).to_csv(partial, sep="\t", index=False)
    with whole(results / "plan.txt") as partial:
        partial.write_text(page + "\n")
    sys.stdout.write(f"{page}\n\nA row per job: {results / 'plan.tsv'}\n")
