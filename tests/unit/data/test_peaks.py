"""Peaks that are called: what is removed, what is said."""

import numpy as np
import pandas as pd
import pytest

from epifoundation.cli.arguments import paper_section
from epifoundation.config import PeakConfig
from epifoundation.contracts import PEAK_SUMMARY
from epifoundation.data.peaks import call_peaks
from epifoundation.errors import DataError

SETTINGS = paper_section(PeakConfig, "peaks", genome_size=1e6)
NOTHING = pd.DataFrame({"chrom": [], "start": [], "end": []})


def frame(*regions):
    return pd.DataFrame(regions, columns=["chrom", "start", "end"])


@pytest.fixture(scope="module")
def fragment_files(tmp_path_factory):
    """Two files with pile-ups at 20 kb of chr2, chr1 and a scaffold, and background."""
    generator = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("pool")
    paths = []
    for name in ("a", "b"):
        lines = []
        for chromosome in ("chr2", "chr1", "scaffold_1"):
            start = np.concatenate(
                [generator.normal(20_000, 100, 150), generator.uniform(0, 100_000, 300)]
            ).astype(int)
            lines += [
                f"{chromosome}\t{s}\t{s + 100}\tAA\t1\n" for s in np.sort(np.maximum(start, 0))
            ]
        paths.append(folder / f"{name}.tsv")
        paths[-1].write_text("".join(lines))
    return paths


def test_peaks_of_the_pool_are_filtered_sorted_and_named(fragment_files):
    peaks, summary = call_peaks(
        fragment_files, SETTINGS, standard_chromosomes=["chr1", "chr2"], blacklist=NOTHING
    )
    assert peaks["chrom"].tolist() == ["chr1", "chr2"]  # in the order asked for
    assert ((peaks["start"] < 20_000) & (peaks["end"] > 20_000)).all()
    label = f"chr1:{peaks['start'][0]}-{peaks['end'][0]}"
    assert peaks["name"][0] == label
    PEAK_SUMMARY.check(summary, "summary")
    row = summary.iloc[0].to_dict()
    assert 0.2 < row.pop("occupancy_in_peaks") < 0.8
    assert 0.005 < row.pop("occupancy_outside") < 0.007  # some 1,200 starts on 200 kb
    assert row == {
        "call": "pooled",
        "n_fragments": 2700,
        "tag_size_bp": 100,
        "n_called": 3,
        "n_nonstandard_removed": 1,
        "n_blacklist_removed": 0,
        "n_kept": 2,
        "total_bp": int((peaks["end"] - peaks["start"]).sum()),
    }


def test_blacklisted_peaks_go_and_none_left_is_an_error(fragment_files):
    arguments = {"standard_chromosomes": ["chr1", "chr2"]}
    peaks, summary = call_peaks(
        fragment_files, SETTINGS, blacklist=frame(("chr2", 20_000, 20_001)), **arguments
    )
    assert peaks["chrom"].tolist() == ["chr1"]
    assert summary["n_blacklist_removed"][0] == 1
    with pytest.raises(DataError, match=r"no peak is left of 3 .*1 off .* 2 blacklisted"):
        call_peaks(
            fragment_files,
            SETTINGS,
            blacklist=frame(("chr1", 0, 10**6), ("chr2", 0, 10**6)),
            **arguments,
        )


def test_a_blacklist_of_another_naming_is_warned_of(fragment_files, caplog):
    named = frame(("2", 20_000, 20_001))
    call_peaks(fragment_files, SETTINGS, standard_chromosomes=["chr1", "chr2"], blacklist=named)
    assert "no blacklisted region is on a chromosome with peaks (2 against chr1)" in caplog.text
    assert "calls it chr2: rename the chromosomes" in caplog.text


def test_macs2_reaches_beyond_the_last_base_and_is_cut_there(tmp_path):
    path = tmp_path / "f.tsv"
    starts = [*range(0, 90_000, 900), *range(99_700, 100_000)]
    path.write_text("".join(f"chr1\t{s}\t{s + 50}\tA\t1\n" for s in starts))
    arguments = {"standard_chromosomes": ["chr1"], "blacklist": NOTHING}
    free, _ = call_peaks([path], SETTINGS, **arguments)
    assert free["end"].max() > 100_000
    cut, summary = call_peaks([path], SETTINGS, chrom_sizes={"chr1": 100_000}, **arguments)
    assert cut["end"].max() == 100_000
    assert cut["name"].iloc[-1].endswith("-100000")
    assert len(cut) == len(free)
    with pytest.raises(DataError, match=r"f\.tsv: .*fragments start beyond the end"):
        call_peaks([path], SETTINGS, chrom_sizes={"chr1": 95_000}, **arguments)


def test_saturated_peaks_are_warned_of_with_the_ways_out(tmp_path, caplog):
    path = tmp_path / "f.tsv"
    starts = [*range(0, 200_000, 900), *range(50_000, 52_000)]
    path.write_text("".join(f"chr1\t{s}\t{s + 50}\tA\t1\n" for s in starts))
    arguments = {"standard_chromosomes": ["chr1"], "blacklist": NOTHING}
    _, summary = call_peaks([path], SETTINGS, **arguments)
    assert summary["occupancy_in_peaks"][0] > 0.8
    assert "1 of 1 calls are saturated (first: pooled)" in caplog.text
    assert (
        "peaks.calls: sample or peaks.calls: cluster or peaks.keep_duplicates: auto" in caplog.text
    )


def test_clusters_need_to_be_told(fragment_files):
    settings = SETTINGS.model_copy(update={"calls": "cluster"})
    with pytest.raises(DataError, match="no table says which barcode is in which cluster"):
        call_peaks(fragment_files, settings, standard_chromosomes=["chr1"], blacklist=NOTHING)
