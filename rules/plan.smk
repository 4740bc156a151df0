# `snakemake plan`: what a run would do and cost. It is told while the workflow is read and not by a
# rule, which would need the lock of the folder: so it works beside a running workflow, and runs no
# job. Options go before or after it, but --configfile needs `--` or an option before it.
import re
import sys

if "plan" in sys.argv[1:]:
    from epifoundation.planning.plan import tell

    tell(
        [argument for argument in sys.argv[1:] if argument != "plan"],
        sheet,
        cfg,
        stages={rule.name: Path(rule.snakefile).stem for rule in workflow.rules},
        recorded=Path(workflow.basedir, "benchmarks"),
        folder=Path(workflow._rundir),  # where Snakemake was called, before --directory
    )
    sys.exit()

# A dry run lists jobs, not samples: it names at least those that hold a choice of ours.
DRY_RUN = re.compile(r"--dry-?run|-[A-Za-z]*n[A-Za-z]*")
assumed = ", ".join(dict.fromkeys(row.sample for row in sheet.rows if row.assumed))
if assumed and any(DRY_RUN.fullmatch(argument) for argument in sys.argv[1:]):
    sys.stderr.write(f"assumed samples: {assumed} (snakemake plan says why)\n")
