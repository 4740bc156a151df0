"""Peaks against what the plain command calls on the files themselves."""

import shutil
import stat
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from epifoundation.cli.arguments import paper_section
from epifoundation.config import PeakConfig
from epifoundation.data.macs import find_caller, largest_duplicates
from epifoundation.data.peaks import call_peaks
from epifoundation.errors import DataError, ToolError

CHROMOSOMES = ["chr1", "chr2", "scaffold_1"]
NOTHING = pd.DataFrame({"chrom": [], "start": [], "end": []})
SETTINGS = paper_section(PeakConfig, "peaks", genome_size=1e6)


def fragments(seed, first_length):
    """Pile-ups with gaps of all sizes between them, duplicates, background; first ten as told."""
    generator = np.random.default_rng(seed)
    lines = []
    for chromosome in CHROMOSOMES:
        centres = np.cumsum(generator.integers(250, 900, 60))
        piles = generator.normal(np.repeat(centres, 40), 40).astype(int)
        start = np.sort(
            np.abs(np.concatenate([piles, piles[::3], generator.integers(0, 60_000, 900)]))
        )
        length = generator.integers(30, 500, len(start))
        length[:10] = first_length
        lines += [
            f"{chromosome}\t{s}\t{s + n}\tAA\t1\n" for s, n in zip(start, length, strict=True)
        ]
    return lines


def plain(files, folder, *, program="macs2", keep_duplicates=None):
    """The command of Signac's CallPeaks, on the files as they are."""
    command = [program, "callpeak", "-t", *map(str, files), "-g", "1e6", "-f", "BED", "--nomodel"]
    command += ["--extsize", "200", "--shift", "-100", "-n", "x", "--outdir", str(folder)]
    command += ["--keep-dup", keep_duplicates] if keep_duplicates else []
    subprocess.run(command, check=True, capture_output=True)
    names = ["chrom", "start", "end", "name", "score"]
    table = pd.read_csv(folder / "x_peaks.narrowPeak", sep="\t", usecols=range(5), names=names)
    return table.sort_values(["chrom", "start"], ignore_index=True)[
        ["chrom", "start", "end", "score"]
    ]


def assert_same(files, folder, *, settings=SETTINGS, **arguments):
    called, summary = call_peaks(
        files, settings, standard_chromosomes=CHROMOSOMES, blacklist=NOTHING
    )
    expected = plain(files, folder, **arguments)
    pd.testing.assert_frame_equal(called[expected.columns.tolist()], expected)
    return len(called), summary


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three files, each sorted in its own way, with other first lines."""
    folder = tmp_path_factory.mktemp("fragments")
    texts = {
        "long.tsv": ["# a comment\n", "# another\n", *fragments(0, 600)],
        "short.tsv": [*fragments(1, 31)[::-1]],
        "few.tsv": ["scaffold_1\t700\t790\tAA\t1\n", "chr1\t3\t90\tAA\t1\n"],
    }
    for name, lines in texts.items():
        folder.joinpath(name).write_text("".join(lines))
    return {name: folder / name for name in texts}


@pytest.mark.parametrize(
    "order",
    [
        ("long.tsv", "short.tsv", "few.tsv"),
        ("short.tsv", "few.tsv", "long.tsv"),
        ("few.tsv", "long.tsv", "short.tsv"),
    ],
    ids=lambda order: order[0],
)
def test_peaks_of_pooled_starts_are_those_of_the_files(files, tmp_path, order):
    n_peaks, summary = assert_same([files[name] for name in order], tmp_path)
    assert n_peaks > 20
    assert 0.01 < summary["occupancy_outside"][0] < summary["occupancy_in_peaks"][0] < 1


def test_first_lines_decide_where_peaks_end(files, tmp_path):
    (tmp_path / "short.tsv").write_text("".join(fragments(0, 31)))  # the starts of long.tsv
    peaks = [plain([path], tmp_path) for path in (files["long.tsv"], tmp_path / "short.tsv")]
    assert len(peaks[0]) < len(peaks[1])


@pytest.mark.parametrize("keep", [2, 300, "auto", "all"])
def test_other_duplicate_rules_call_what_the_files_do(files, tmp_path, keep):
    settings = SETTINGS.model_copy(update={"keep_duplicates": keep})
    assert_same(list(files.values()), tmp_path, settings=settings, keep_duplicates=str(keep))


def test_macs3_calls_the_same_peaks(files, tmp_path):
    try:
        program = find_caller("macs3")
    except ToolError:
        pytest.skip("macs3 is not installed")
    settings = SETTINGS.model_copy(update={"caller": "macs3"})
    paths = list(files.values())
    assert_same(paths, tmp_path, settings=settings, program=program)
    assert_same(paths, tmp_path, settings=settings, program="macs2")


@pytest.mark.parametrize("calls", ["sample", "cluster"])
def test_calls_of_parts_are_the_union_of_the_plain_ones(files, tmp_path, calls):
    paths = [files["long.tsv"], files["short.tsv"]]
    settings = SETTINGS.model_copy(update={"calls": calls})
    peaks, summary = call_peaks(
        paths,
        settings,
        standard_chromosomes=CHROMOSOMES,
        blacklist=NOTHING,
        names=["one", "two"],
        groups=[{"AA": "one"}, {"AA": "two"}] if calls == "cluster" else None,
        threads=2,
    )
    plains = []
    for path in paths:
        folder = tmp_path / path.stem
        folder.mkdir()
        plains.append(plain([path], folder))
    assert summary["call"].tolist() == ["one", "two", "merged"]
    assert summary["n_called"].tolist()[:2] == [len(table) for table in plains]
    bases = {
        (p.chrom, base) for t in plains for p in t.itertuples() for base in range(p.start, p.end)
    }
    found = [(p.chrom, base) for p in peaks.itertuples() for base in range(p.start, p.end)]
    assert len(found) == len(set(found))
    assert set(found) == bases
    apart = peaks["start"][1:].to_numpy() > peaks["end"][:-1].to_numpy()
    assert (apart | (peaks["chrom"][1:].to_numpy() != peaks["chrom"][:-1].to_numpy())).all()


def test_auto_is_what_macs2_computes(tmp_path):
    line = "chr1\t{}\t{}\tAA\t1\n"
    for n, genome_size in [(50, 1e9), (2_000, 1e6), (3_000, 1e4), (3_000, 777)]:
        path = tmp_path / "tags.bed"
        path.write_text("".join(line.format(i, i + 9) for i in range(n)))
        command = ["macs2", "filterdup", "-i", str(path), "-f", "BED", "-g", str(genome_size)]
        command += ["--keep-dup", "auto", "-o", str(tmp_path / "kept.bed")]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        (computed,) = (x.rsplit(maxsplit=1)[1] for x in told.splitlines() if "max_dup_tags" in x)
        changed = {"keep_duplicates": "auto", "genome_size": genome_size}
        settings = SETTINGS.model_copy(update=changed)
        assert largest_duplicates(settings, n) == max(1, int(computed))
    with pytest.raises(DataError, match="would keep more than 255 fragments a base"):
        largest_duplicates(settings, 10**6)


@pytest.fixture
def fake_caller(tmp_path, monkeypatch):
    def install(script, name="macs2"):
        program = tmp_path / "bin" / name
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{program.parent}:/bin")
        monkeypatch.setattr(sys, "executable", str(tmp_path / "elsewhere" / "python"))
        if shutil.which(name) != str(program):
            pytest.skip(f"{name} is in /bin")

    return install


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("macs2", "2.1.0", r"macs2 2\.2\.7\.1 or 2\.2\.9\.1 is needed: .* is version 2\.1\.0"),
        ("macs3", "3.0.0b1", r"macs3 3\.0\.4 is needed: .* is version 3\.0\.0b1\. Install it with"),
    ],
)
def test_other_versions_are_refused_by_name(fake_caller, name, version, message):
    fake_caller(f"echo {name} {version}", name)
    with pytest.raises(ToolError, match=message):
        find_caller(name)


def test_a_missing_program_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ToolError, match=r"is needed: it is not installed\. Install it with `pip"):
        find_caller("macs3")


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("echo odd >&2; exit 3", r"failed \(exit code 3\): odd$"),
        ("echo OSError: No space left on device >&2; exit 1", r"left on device\. Set TMPDIR"),
        ("kill -9 $$", r"exit code -9\): no output\. It was killed, often for want of memory"),
    ],
)
def test_a_failing_program_says_why(fake_caller, files, failure, message):
    fake_caller(f'[ "$1" = --version ] && echo macs2 2.2.7.1 && exit; {failure}')
    with pytest.raises(ToolError, match=message):
        call_peaks(
            list(files.values()), SETTINGS, standard_chromosomes=CHROMOSOMES, blacklist=NOTHING
        )
