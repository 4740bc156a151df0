"""Peak calling, given peak sets, and what is removed."""

import stat
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.config import PeakConfig
from epifoundation.data import peaks as peaks_module
from epifoundation.data.peaks import (
    PEAK_SUMMARY,
    call_peaks,
    find_macs2,
    frozen_peaks,
    peaks_of_matrices,
    without_overlaps,
    write_peaks,
)
from epifoundation.data.pool import pool_distinct_starts
from epifoundation.data.regions import read_bed
from epifoundation.errors import DataError, ToolError
from epifoundation.multiome import multiome

SETTINGS = PeakConfig(
    pool="atlas",
    frozen=None,
    genome_size=1e6,
    q_value=0.05,
    extension_bp=200,
    keep_duplicates="1",
)
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


@pytest.fixture
def fake_macs2(tmp_path, monkeypatch):
    def install(script):
        program = tmp_path / "bin" / "macs2"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        monkeypatch.setattr(sys, "executable", str(tmp_path / "elsewhere" / "python"))

    return install


def test_peaks_of_the_pool_are_filtered_sorted_and_named(fragment_files):
    peaks, summary = call_peaks(
        fragment_files, SETTINGS, standard_chromosomes=["chr1", "chr2"], blacklist=NOTHING
    )
    assert peaks["chrom"].tolist() == ["chr1", "chr2"]  # in the order asked for
    assert ((peaks["start"] < 20_000) & (peaks["end"] > 20_000)).all()
    label = f"chr1:{peaks['start'][0]}-{peaks['end'][0]}"
    assert peaks["name"][0] == label
    PEAK_SUMMARY.check(summary, "summary")
    assert summary.iloc[0].to_dict() == {
        "n_fragments": 2700,
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


def test_dropping_duplicates_first_changes_no_peak(fragment_files, monkeypatch):
    arguments = {"standard_chromosomes": ["chr1", "chr2", "scaffold_1"], "blacklist": NOTHING}
    pooled, _ = call_peaks(fragment_files, SETTINGS, **arguments)
    monkeypatch.setattr(
        peaks_module,
        "pool_distinct_starts",
        lambda fragments, target: target.write_text("".join(p.read_text() for p in fragments)),
    )
    plain, _ = call_peaks(fragment_files, SETTINGS, **arguments)
    pd.testing.assert_frame_equal(pooled, plain)


def test_other_duplicate_rules_read_the_files_themselves(fragment_files):
    settings = SETTINGS.model_copy(update={"keep_duplicates": "all"})
    _, summary = call_peaks(
        fragment_files, settings, standard_chromosomes=["chr1", "chr2"], blacklist=NOTHING
    )
    assert summary["n_fragments"][0] == 2700


def test_the_pool_holds_each_start_once_and_the_first_lines_whole(tmp_path):
    first = [f"chr1\t{5 if i < 2 else i * 10}\t{i * 10 + 300}\tA\t1\n" for i in range(12)]
    paths = [tmp_path / "a.tsv", tmp_path / "b.tsv"]
    paths[0].write_text("".join(first))
    paths[1].write_text("chr1\t110\t111\tB\t1\nchr2\t110\t111\tB\t1\nchr1\t7\t9\tB\t1\n")
    pool = tmp_path / "pool.bed"
    assert pool_distinct_starts(paths, pool) == 15
    lines = [line.split("\t") for line in pool.read_text().splitlines()]
    assert [line[1:] for line in lines[:2]] == [["5", "300"], ["5", "310"]]  # MACS2 measures these
    starts = [(line[0], int(line[1])) for line in lines[10:]]
    assert sorted(starts) == [("chr1", 7), ("chr1", 100), ("chr1", 110), ("chr2", 110)]
    with pytest.raises(DataError, match="no sample of the pool has fragments"):
        pool_distinct_starts([], pool)


def test_touching_is_not_overlapping():
    regions = frame(("chr1", 10, 20), ("chr1", 15, 30), ("chr2", 10, 20), ("chr1", 40, 50))
    others = frame(("chr1", 20, 25), ("chr1", 30, 40), ("chr3", 0, 99))
    kept = without_overlaps(regions, others)
    assert kept["start"].tolist() == [10, 10, 40]
    assert len(without_overlaps(regions, frame(("chr3", 0, 99)))) == 4


def test_a_given_set_keeps_its_order_and_names(tmp_path):
    path, copy = tmp_path / "given.bed", tmp_path / "peaks.bed"
    path.write_text("chr2\t5\t9\tmine\nchr1\t5\t9\n")
    peaks, summary = frozen_peaks(path, standard_chromosomes=["chr1", "chr2"])
    write_peaks(peaks, copy)
    assert copy.read_text() == "chr2\t5\t9\tmine\t0\nchr1\t5\t9\tchr1:5-9\t0\n"
    assert read_bed(copy)["name"].tolist() == ["mine", "chr1:5-9"]
    assert summary["n_kept"][0] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t5\t9\nGL1\t5\t9\n", r"1 of 2 peaks are on unknown chromosomes \(first: GL1:5-9\)"),
        ("chr1\t5\t9\nchr1\t5\t9\n", r"1 of 2 peaks are listed twice \(first: chr1:5-9\)"),
        ("", "there is no peak"),
    ],
)
def test_unusable_given_sets_are_refused(tmp_path, text, message):
    path = tmp_path / "given.bed"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        frozen_peaks(path, standard_chromosomes=["chr1"])


@pytest.mark.filterwarnings("ignore:.*pull_on_update:FutureWarning")
def test_matrices_share_their_peaks_or_are_refused():
    def matrices(*regions):
        table = frame(*regions)
        obs = pd.DataFrame(index=["a"])
        index = [f"{c}:{s}-{e}" for c, s, e in regions]
        counts = sparse.csr_matrix(np.ones((1, len(regions)), dtype=np.int32))
        atac = ad.AnnData(counts, obs=obs, var=table.set_axis(index, axis=0))
        rna = ad.AnnData(counts[:, :1], obs=obs, var=pd.DataFrame(index=["g"]))
        return multiome(rna, atac)

    one = matrices(("chr2", 1, 5), ("chr1", 1, 5))
    peaks, _ = peaks_of_matrices([one, matrices(("chr1", 1, 5), ("chr2", 1, 5))], ["s", "t"])
    assert peaks["name"].tolist() == ["chr2:1-5", "chr1:1-5"]
    with pytest.raises(DataError, match=r"samples s and t have different peaks: 3 .* chr1:1-5"):
        peaks_of_matrices([one, matrices(("chr2", 1, 6))], ["s", "t"])


def test_another_macs2_is_refused_by_name(fake_macs2):
    fake_macs2("echo macs2 2.1.0")
    with pytest.raises(
        ToolError, match=r"2\.2\.7\.1 or 2\.2\.9\.1 is needed: .* is version 2\.1\.0"
    ):
        find_macs2()


def test_a_failing_macs2_says_why(fake_macs2, fragment_files):
    fake_macs2('[ "$1" = --version ] && echo macs2 2.2.7.1 && exit; echo no space left >&2; exit 3')
    with pytest.raises(ToolError, match=r"failed \(exit code 3\): no space left"):
        call_peaks(fragment_files, SETTINGS, standard_chromosomes=["chr1"], blacklist=NOTHING)
