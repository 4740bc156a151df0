"""Groups of barcodes."""

import numpy as np
import pandas as pd
import pytest

from epifoundation.contracts import CLUSTERS
from epifoundation.data.groups import cluster_groups, grouped_fragments, read_groups
from epifoundation.errors import DataError

STANDARD = ["chr1", "chr2"]


@pytest.fixture
def files(tmp_path):
    first = [("chr1", i * 10, i * 10 + 300, "A") for i in range(12)]
    second = [("chr1", 110, 111, "B"), ("chr2", 110, 111, "A"), ("chr1", 7, 9, "B")]
    paths = [tmp_path / "a.tsv", tmp_path / "b.tsv"]
    for path, fragments in zip(paths, (first, second), strict=True):
        path.write_text("".join("\t".join(map(str, line)) + "\t1\n" for line in fragments))
    return paths


def lines_of(path):
    return [tuple(line.split("\t")[:2]) for line in path.read_text().splitlines()]


def test_clusters_of_samples_are_groups_of_their_own(tmp_path):
    paths = []
    for sample in ("s", "t"):
        table = pd.DataFrame({"barcode": [f"{sample}#A-1", f"{sample}#B-1"], "cluster": ["0", "1"]})
        paths.append(tmp_path / f"{sample}.tsv")
        CLUSTERS.write(table, paths[-1])
    assert cluster_groups(paths, ["s", "t"]) == [
        {"A-1": "s#0", "B-1": "s#1"},
        {"A-1": "t#0", "B-1": "t#1"},
    ]


def test_tables_of_groups_are_read_or_refused(tmp_path):
    path = tmp_path / "groups.tsv"
    for text in ("A\tT cell\nB\tNA\n", "barcode\tgroup\nA\tT cell\nB\tNA\n"):
        path.write_text(text)
        assert read_groups(path) == {"A": "T cell", "B": "NA"}
    for text, message in [
        ("A\tx\nB\ty\nA\tx\n", r"1 barcodes are listed twice \(first: A\)"),
        ("A x\nB x\n", r"expected lines of barcode, tab, group; the first is 'A x'"),
        ("A\t\n", "expected lines of barcode, tab, group"),
        ("", "expected lines of barcode, tab, group; the first is ''"),
    ]:
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_groups(path)


def test_groups_are_pooled_over_files(files, tmp_path):
    groups = [{"A": "x", "absent": "z"}, {"A": "y", "B": "x"}]
    found = {}
    with grouped_fragments(files, groups, cap=1, standard_chromosomes=STANDARD) as parts:
        for name, load in parts.items():
            pool = load()
            pool.write_tags(tmp_path / f"{name}.bed", cap=1)
            found[name] = (pool.n_fragments, lines_of(tmp_path / f"{name}.bed")[-1], pool.files)
    assert found == {"x": (14, ("chr1", "110"), ()), "y": (1, ("chr2", "110"), ())}


def test_groups_without_a_cap_keep_every_fragment(files):
    groups = [{"A": "x"}, {"B": "x"}]
    with grouped_fragments(files, groups, cap=None, standard_chromosomes=STANDARD) as parts:
        tags = np.loadtxt(parts["x"]().files[0], dtype=str)
    assert len(tags) == 14
    assert (tags[:, 1] == "110").sum() == 2


def test_absent_barcodes_are_told_of(files, caplog):
    groups = [{"A": "x", "Q": "x"}, {"B": "q"}]
    with grouped_fragments(files, groups, cap=1, standard_chromosomes=STANDARD):
        assert "1 of 2 grouped barcodes have no fragment (first: Q)" in caplog.text


def test_each_file_needs_its_groups(files):
    tables = grouped_fragments(files, [{"A": "x"}], cap=1, standard_chromosomes=STANDARD)
    with (
        pytest.raises(DataError, match="1 tables of groups were given for 2 fragment files"),
        tables,
    ):
        pass


def test_a_table_without_barcodes_is_refused(files):
    tables = grouped_fragments(files, [{"A": "x"}, {}], cap=1, standard_chromosomes=STANDARD)
    with pytest.raises(DataError, match=r"b\.tsv: its table of groups holds no barcode"), tables:
        pass
