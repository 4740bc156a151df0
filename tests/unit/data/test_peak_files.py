"""Peaks of BED files: what is refused, and what their coordinates show."""

import logging

import pytest

from epifoundation.data.peak_files import read_peaks
from epifoundation.errors import DataError


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "peaks.bed"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "holds no peak", id="empty"),
        pytest.param("# chrom\ttrack\n\n", "holds no peak", id="comments only"),
        pytest.param("chr1\t5\t9\n" * 3, r"2 of 3 peaks are listed twice .*chr1:5-9", id="twice"),
        pytest.param("chr1\t9\t5\nchr1\t1\t2\n", r"1 of 2 lines .*'chr1\\t9\\t5'", id="reversed"),
        pytest.param("chr1\t-3\t5\n", "1 of 1 lines", id="negative"),
        pytest.param("chr1\t1.5\t5\n", "1 of 1 lines", id="fractions"),
        pytest.param("chr1\t50\t120\nchr1\t1\t9\n", "1 of 2 regions end beyond", id="beyond"),
        pytest.param("1\t50\t80\n", "1 chromosomes have no length", id="named otherwise"),
    ],
)
def test_peaks_that_cannot_be_counted_are_refused(write, text, message):
    with pytest.raises(DataError, match=message):
        read_peaks(write(text), chromosome_sizes={"chr1": 100})


def test_peaks_that_overlap_are_warned_of(write, caplog):
    peaks = read_peaks(write("chr1\t5\t9\nchr2\t5\t9\nchr1\t8\t20\nchr1\t20\t30\n"))
    assert peaks["start"].tolist() == [5, 5, 8, 20]
    assert "1 of 4 peaks overlap an earlier one (first: chr1:8-20)" in caplog.text


def test_two_names_of_a_chromosome_are_warned_of(write, caplog):
    read_peaks(write("chr1\t5\t9\n1\t50\t90\n"))
    assert "1 chromosomes have two names (first: chr1 and 1)" in caplog.text


def lines(*peaks):
    return "".join("\t".join(map(str, peak)) + "\n" for peak in peaks)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        pytest.param(lines(("chr1", 100, 200, "chr1-101-200")), "", id="Signac's names"),
        pytest.param(lines(("chr1", 100, 200, "chr1:100-200")), "", id="10x's names"),
        pytest.param(lines(("chr1", 100, 200, "peak-1")), "", id="labels"),
        pytest.param(
            lines(("chr1", 101, 200, "chr1-101-200")), "names are written as Signac's", id="closed"
        ),
        pytest.param(
            lines(*(("chr1", 1000 * i + 1, 1000 * i + 500) for i in range(20))),
            "20 peaks are 499 wide, which closed is 500",
            id="499 wide",
        ),
        pytest.param(lines(*(("chr1", 1000 * i, 1000 * i + 501) for i in range(20))), "", id="501"),
        pytest.param(
            lines(*(("chr1", 100 * i + 1, 100 * i + 100) for i in range(3))),
            "",
            id="few side by side",
        ),
        pytest.param(
            lines(*(("chr1", i * i + 1, (i + 1) ** 2) for i in range(3, 40))),
            "36 peaks begin one base after another's end",
            id="side by side",
        ),
        pytest.param(
            lines(*(("chr1", i * i, (i + 1) ** 2) for i in range(3, 40))), "", id="half-open tiles"
        ),
    ],
)
def test_the_convention_is_said_and_another_noticed(write, caplog, text, warning):
    with caplog.at_level(logging.INFO):
        peaks = read_peaks(write(text))
    assert peaks["start"].iloc[0] == int(text.split("\t")[1])  # columns stay as they are
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == bool(warning)
    assert warning in "".join(warnings)
    assert "0-based" in caplog.text
