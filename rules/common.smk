# What all rules share: the sample sheet, rerun triggers, and where results live.
import hashlib
import json
import os

from epifoundation import protocols
from epifoundation.config import check_given_files
from epifoundation.samples import SampleSheet

R = cfg.results_dir
check_given_files(cfg, Path(workflow.basedir))
# Profiles among the results may be made again, so that the sheet is not held to them.
given_profiles = cfg.labels.profiles
if given_profiles and Path(given_profiles).is_relative_to(R):
    given_profiles = None
sheet = SampleSheet.read(
    cfg.samples,
    labels=cfg.labels.source,
    profiles=given_profiles,
    root=Path(workflow.basedir),
)

# What reads fragments, and what reads counts of any format: each module, with all that it imports.
FRAGMENT_CODE = (
    "data/compiled.py",
    "data/fragment_checks.py",
    "data/fragment_lines.py",
    "data/fragment_reader.py",
    "data/gzipped.py",
    "data/regions.py",
)
IMPORT_CODE = (
    "data/annotation.py",
    "data/gzipped.py",
    "data/imports.py",
    "data/normalised.py",
    "data/regions.py",
    "data/tenx.py",
)


wildcard_constraints:
    atlas=sheet.pattern("atlas"),
    sample=sheet.pattern("sample"),
    dataset="|".join(sheet.all_datasets()),
    seed=r"\d+",
    protocol="|".join(cfg.benchmark.protocols),
    variant="full|no_batch|no_chromosome|no_pretrain|no_tissue",


def params_of(section):
    """A config section as plain data: Snakemake ignores changes of any other object."""
    return section.model_dump(mode="json") if section is not None else None


def hash_of(*sections):
    """Hash of config sections, by which an output tells from which settings it comes."""
    text = json.dumps([params_of(section) for section in sections], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_of(*modules):
    """Hash of the package modules a step runs, so that editing them reruns the step."""
    package = Path(workflow.basedir, "src", "epifoundation")
    sources = [(package / module).read_bytes() for module in modules]
    return hashlib.sha256(b"".join(sources)).hexdigest()[:12]


def local_path(location):
    """A local path; a relative one that is not here is taken from the checkout.

    Not one among the results: a rule makes it here.
    """
    path = Path(location)
    beside = Path(workflow.basedir, path)
    if path.exists() or path.is_relative_to(R) or not beside.exists():
        return str(location)
    return str(beside)


def local_or_url(location):
    """A local path of the configuration as an input file; a URL is no input file."""
    if location is None or "://" in str(location):
        return []
    return local_path(location)


def memory_mb(base, per_mb):
    """Megabytes to ask for: `base`, and so much per megabyte of input, files or folders."""

    def asked(wildcards, input):
        files = [
            file
            for path in input
            for file in (Path(path).rglob("*") if os.path.isdir(path) else [str(path)])
        ]
        return int(base + per_mb * sum(os.stat(file).st_size for file in files) / 2**20)

    return asked
