"""Groups of barcodes."""

import pandas as pd
import pytest

from epifoundation.contracts import CLUSTERS
from epifoundation.data.groups import cluster_groups, read_groups
from epifoundation.errors import DataError


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
    ]:
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_groups(path)
