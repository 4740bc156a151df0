"""Peak sets that are given."""

import pandas as pd
import pytest

from epifoundation.contracts import PEAK_SUMMARY
from epifoundation.data.given_peaks import frozen_peaks, peaks_of_matrices
from epifoundation.data.peaks import write_peaks
from epifoundation.data.regions import read_bed, regions_as_var
from epifoundation.errors import DataError


def test_a_given_set_keeps_its_order_and_names(tmp_path):
    path, copy = tmp_path / "given.bed", tmp_path / "peaks.bed"
    path.write_text("chr2\t5\t9\tmine\nchr1\t5\t9\n")
    peaks, summary = frozen_peaks(path, standard_chromosomes=["chr1", "chr2"])
    write_peaks(peaks, copy)
    assert copy.read_text() == "chr2\t5\t9\tmine\t0\nchr1\t5\t9\tchr1:5-9\t0\n"
    assert read_bed(copy)["name"].tolist() == ["mine", "chr1:5-9"]
    PEAK_SUMMARY.check(summary, "summary")
    assert (summary["n_kept"][0], summary["total_bp"][0]) == (2, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t5\t9\nGL1\t5\t9\n", r"1 of 2 peaks are on unknown chromosomes \(first: GL1:5-9\)"),
        ("chr1\t5\t9\nchr1\t5\t9\n", r"1 of 2 peaks are listed twice \(first: chr1:5-9\)"),
        ("chr1\t5\t9\nchr1\t9\t9\n", r"1 of 2 lines are not regions .* 'chr1\\t9\\t9'"),
        ("chr1\t5\t9\nchr1\t95\t101\n", r"1 of 2 regions end beyond .*chr1:95-101"),
        ("", "holds no peak"),
    ],
)
def test_unusable_given_sets_are_refused(tmp_path, text, message):
    path = tmp_path / "given.bed"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        frozen_peaks(path, standard_chromosomes=["chr1"], chrom_sizes={"chr1": 100})


def test_overlapping_peaks_stay_and_are_told_of(tmp_path, caplog):
    path = tmp_path / "given.bed"
    path.write_text("chr1\t50\t60\nchr1\t5\t30\nchr1\t10\t20\nchr1\t29\t35\nchr1\t35\t40\n")
    peaks, _ = frozen_peaks(path, standard_chromosomes=["chr1"])
    assert peaks["start"].tolist() == [50, 5, 10, 29, 35]
    assert "2 of 5 peaks overlap an earlier one (first: chr1:10-20)" in caplog.text


def test_matrices_share_their_peaks_or_are_refused(caplog):
    def table(*regions):
        return regions_as_var(pd.DataFrame(regions, columns=["chrom", "start", "end"]))

    one = table(("chr2", 1, 5), ("chr1", 1, 5))
    peaks, summary = peaks_of_matrices([one, table(("chr1", 1, 5), ("chr2", 1, 5))], ["s", "t"])
    assert peaks["name"].tolist() == ["chr2:1-5", "chr1:1-5"]
    PEAK_SUMMARY.check(summary, "summary")
    with pytest.raises(DataError, match=r"samples s and t have different peaks: 3 .* chr1:1-5"):
        peaks_of_matrices([one, table(("chr2", 1, 6))], ["s", "t"])
    assert not caplog.records
    peaks_of_matrices([table(("chr1", 1, 5), ("chr1", 4, 9))], ["s"])
    assert "s: 1 of 2 peaks overlap an earlier one (first: chr1:4-9)" in caplog.text
