"""Peaks of either caller, of files however they are cut, against what MACS2 2.2.7.1 called."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from epifoundation.cli.arguments import paper_section
from epifoundation.config import PeakConfig
from epifoundation.data.macs import find_caller
from epifoundation.data.peaks import call_peaks
from epifoundation.errors import ToolError

SETTINGS = paper_section(PeakConfig, "peaks")
COMPARED = ["chrom", "start", "end", "score"]


@pytest.fixture(scope="module")
def recorded(shared) -> tuple[Path, pd.DataFrame]:
    """The simulated fragments and the peaks called on them."""
    golden = shared / "golden"
    called = pd.read_csv(
        golden / "sim_expected/macs2/sim_peaks.narrowPeak",
        sep="\t",
        header=None,
        usecols=[0, 1, 2, 4],
        names=COMPARED,
    )
    return golden / "sim/fragments.tsv.gz", called.sort_values(COMPARED[:2], ignore_index=True)


def called_on(files, expected, **changed):
    peaks, _ = call_peaks(
        files,
        SETTINGS.model_copy(update=changed),
        standard_chromosomes=sorted(set(expected["chrom"])),
        blacklist=pd.DataFrame({"chrom": [], "start": [], "end": []}),
        threads=2,
    )
    return peaks[COMPARED]


def test_macs3_calls_the_recorded_peaks(recorded):
    try:
        find_caller("macs3")
    except ToolError:
        pytest.skip("macs3 is not installed")
    path, expected = recorded
    pd.testing.assert_frame_equal(called_on([path], expected, caller="macs3"), expected)


def test_files_cut_and_turned_over_give_the_recorded_peaks(recorded, tmp_path):
    path, expected = recorded
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    parts = [lines[:10] + lines[500_000:][::-1], lines[10:200_000], lines[200_000:500_000]]
    files = [tmp_path / f"{i}.tsv" for i in range(3)]
    for file, part in zip(files, parts, strict=True):
        file.write_bytes(b"".join(part))
    pd.testing.assert_frame_equal(called_on(files, expected), expected)
    # Other first ten lines make other peaks, as they do for the plain command.
    assert len(called_on(files[1:] + files[:1], expected)) != len(expected)
