"""How much of everything a sample is, as far as it is known before the run."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from epifoundation.samples import Sample, SampleSheet

CELLS_A_SAMPLE = 6_300  # the authors' atlas: about 120,000 cells of 19 samples
SIMULATED_CELLS, SIMULATED_GB = 400, 0.1  # of a simulated sample
GB = 1e9


class Sizes:
    """How much a sample's reads are, and how many cells it has: known, told or assumed."""

    def __init__(self, sheet: SampleSheet, results: Path, *, simulated: bool) -> None:
        self.sheet = sheet
        self.results = results
        self.manifests = {row.sample: self._manifest(row.sample) for row in sheet.rows}
        told = [float(row.reads_gb) for row in sheet.rows if row.reads_gb]
        self.typical_gb = sum(told) / len(told) if told else SIMULATED_GB * simulated
        self.typical_cells = SIMULATED_CELLS if simulated else CELLS_A_SAMPLE

    def _manifest(self, sample: str) -> pd.DataFrame | None:
        path = self.results / "acquire" / sample / "manifest.tsv"
        return pd.read_csv(path, sep="\t") if path.exists() else None

    def reads_gb(self, sample: Sample) -> float:
        """Return the size of a sample's reads, in GB."""
        manifest = self.manifests[sample.sample]
        if manifest is not None:
            return float(manifest["bytes"].sum() / GB)
        if sample.reads_gb:
            return float(sample.reads_gb)
        return self.typical_gb if sample.entry == "fastq" else 0.0

    def is_known(self, sample: Sample) -> bool:
        """Whether the size of the reads is more than a guess."""
        known = self.manifests[sample.sample] is not None or bool(sample.reads_gb)
        return known or sample.entry != "fastq" or not self.typical_gb

    def download_gb(self, sample: Sample) -> float:
        """Return how much of a sample's reads is still to come, but of a catalogue of one's own."""
        manifest = self.manifests[sample.sample]
        if manifest is None:
            return 0.0 if sample.source == "catalogue" else self.reads_gb(sample)
        remote = manifest[~manifest["url"].str.startswith("file:")]
        incoming = self.results / "fastq" / f".incoming-{sample.sample}"
        here = sum(p.stat().st_size for p in incoming.glob("*") if p.is_file())
        return max(float(remote["bytes"].sum() - here), 0.0) / GB

    def cells(self, sample: Sample) -> int:
        """Return the number of cells of a sample: counted where it was labelled, else typical."""
        labels = self.results / "labels" / sample.atlas / sample.sample / "labels.tsv"
        if labels.exists():
            with labels.open() as handle:
                return sum(1 for _ in handle) - 1
        return self.typical_cells


def size_on_disk(outputs: Sequence[str]) -> float:
    """Return the size of a job's outputs of an earlier run, in GB; 0 where there are none."""
    files = [
        file
        for path in map(Path, outputs)
        for file in (path.rglob("*") if path.is_dir() else [path])
    ]
    return sum(file.stat().st_size for file in files if file.is_file()) / GB
