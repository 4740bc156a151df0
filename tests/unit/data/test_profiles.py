import gzip
import logging

import numpy as np
import pandas as pd
import pytest

from epifoundation.data.profiles import profiles_of, read_profiles, record_download
from epifoundation.errors import ContractError, DataError


@pytest.fixture
def profiles():
    columns = ["B cell--blood", "A cell--blood", "A cell--kidney"]
    return pd.DataFrame(np.arange(12).reshape(4, 3), index=list("GHIJ"), columns=columns)


@pytest.mark.parametrize(
    ("name", "separator"), [("p.tsv", "\t"), ("p.csv", ","), ("p", ","), ("p.csv.gz", ",")]
)
def test_profiles_are_read_whatever_separates_or_packs_them(tmp_path, name, separator):
    lines = [["gene", "T cell--blood", "B, naive--blood"], ["NA", "1", "2"], ["NA", "0", "0.5"]]
    quoted = [[f'"{item}"' for item in line] for line in lines]
    text = "".join(separator.join(line) + "\n" for line in quoted).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    profiles = read_profiles(tmp_path / name)
    assert profiles.index.tolist() == ["NA", "NA.1"]
    assert profiles.columns.tolist() == ["T cell--blood", "B, naive--blood"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"gene\ttype\nA\tT cell\n", r"1 columns are not numbers .*type", id="words"),
        pytest.param(b"gene,T\nA,1\nB,\n", r"1 columns are not numbers", id="hole"),
        pytest.param(b"gene,T\nA,1\nB,inf\n", r"1 values are not finite .*B in T", id="infinite"),
        pytest.param(b"gene,T\n", r"it is empty \(0 genes", id="no genes"),
        pytest.param(b"A\nB\n", r"it is empty", id="no profiles"),
        pytest.param(b"", "is empty", id="nothing"),
        pytest.param(
            b"<!DOCTYPE html><html><title>502 Bad\nGateway</title>",
            r"is a web page \(502 Bad.Gateway\)",
            id="page",
        ),
        pytest.param(b'{"error": "busy"}', r'is JSON \(\{"error": "busy"\}', id="json"),
        pytest.param(b"RDX3\nX", r"R's own format.*getRef\?type=csv", id="R"),
        pytest.param(gzip.compress(b"X\n\0"), "R's own format", id="packed R"),
        pytest.param(gzip.compress(b"\x80\x04"), "a Python pickle", id="pickle"),
        pytest.param(gzip.compress(b"gene,T\nA,1\n")[:15], "cannot be read", id="truncated"),
    ],
)
def test_what_is_no_table_of_profiles_is_named(tmp_path, content, message):
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(ContractError, match=f"(?s){message}"):
        read_profiles(tmp_path / "p")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ContractError, match=r"missing\.tsv cannot be read as profiles"):
        read_profiles(tmp_path / "missing.tsv")


def test_a_download_is_checked_and_recorded(tmp_path, profiles, caplog):
    caplog.set_level(logging.INFO)
    profiles.to_csv(tmp_path / "p.csv")
    record_download(tmp_path / "p.csv", "https://disco/getRef")
    assert "SHA-256" in caplog.text
    assert "atlases (2): blood, kidney" in caplog.text
    (tmp_path / "p.csv").write_text("<html>")
    with pytest.raises(ContractError, match="web page") as error:
        record_download(tmp_path / "p.csv", "https://disco/getRef")
    assert "It came from https://disco/getRef" in error.value.__notes__[0]


def test_unknown_atlas_lists_those_there_are(profiles):
    with pytest.raises(DataError, match=r"'liver'.* atlases: blood, kidney"):
        profiles_of(profiles, "liver")
    with pytest.raises(DataError, match=r"'Blood'.*Did you mean 'blood'\?"):
        profiles_of(profiles, "Blood")
    with pytest.raises(DataError, match=r"disco_atlas of the sample nor --atlas .*blood, kidney"):
        profiles_of(profiles, None)


def test_profiles_without_atlas_are_all_used(profiles):
    plain = profiles.set_axis(["b", "a", "c"], axis=1)
    assert profiles_of(plain, "blood").columns.tolist() == ["a", "b", "c"]
    blood = profiles.iloc[:, :2]
    assert profiles_of(blood, None).columns.tolist() == ["A cell", "B cell"]
