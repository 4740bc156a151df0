import pandas as pd
import pytest

from epifoundation.contracts import BARCODE_METRICS, MANIFEST, METRICS, SPLIT
from epifoundation.errors import ContractError


@pytest.fixture
def metrics() -> pd.DataFrame:
    """Two barcodes, one without any fragment."""
    return pd.DataFrame(
        {
            "barcode": ["AAAC-1", "CCCG-1"],
            "n_rna_umis": [1200, 9],
            "n_genes": [800, 7],
            "n_fragments": [3000, 0],
            "n_atac_in_peaks": [1500, 0],
            "nucleosome_signal": [0.8, float("nan")],
            "tss_enrichment": [5.0, float("nan")],
            "nucleosome_signal_first_lines": [0.8, float("nan")],
            "tss_enrichment_slow": [5.0, float("nan")],
            "frac_fragments_mitochondrial": [0.0, 0.1],
            "frac_in_peaks": [0.5, float("nan")],
            "frac_in_blacklist": [0.0, float("nan")],
            "frac_mitochondrial": [0.1, float("nan")],
        }
    )


@pytest.mark.parametrize("suffix", ["parquet", "tsv"])
def test_round_trip(metrics, tmp_path, suffix):
    path = tmp_path / f"m.{suffix}"
    BARCODE_METRICS.write(metrics, path)
    pd.testing.assert_frame_equal(BARCODE_METRICS.read(path), metrics)


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        pytest.param(lambda m: m.drop(columns="n_fragments"), "is missing", id="missing column"),
        pytest.param(lambda m: m.assign(n_genes=[0.5, 1]), "expected int64", id="dtype"),
        pytest.param(
            lambda m: m.assign(barcode="A"), r"1 of 2 barcode repeat \(first: A\)", id="key"
        ),
        pytest.param(lambda m: m.assign(barcode=["A", ""]), "empty in 1 of 2", id="empty"),
    ],
)
def test_broken_tables_are_refused_and_not_written(metrics, tmp_path, breakage, message):
    with pytest.raises(ContractError, match=message):
        BARCODE_METRICS.write(breakage(metrics), tmp_path / "m.parquet")
    assert list(tmp_path.iterdir()) == []


def test_values_outside_what_is_allowed_are_named():
    table = pd.DataFrame({"cell": ["a", "b"], "split": ["train", "valid"]})
    with pytest.raises(ContractError, match="has 'valid'; allowed: train, validation, test"):
        SPLIT.check(table, "splits.tsv")


def test_numbers_outside_their_range_are_named():
    row = {
        "file": "f",
        "url": "u",
        "bytes": 0,
        "md5": "m",
        "library": "gex",
        "lane": "1",
        "read": "R1",
        "route": "fastq",
    }
    with pytest.raises(
        ContractError, match=r"'bytes' is outside 1\.\..* in 1 of 1 rows \(first: 0\)"
    ):
        MANIFEST.check(pd.DataFrame([row]), "manifest.tsv")


def test_a_metric_without_a_value_keeps_its_note(tmp_path):
    row = {
        **dict.fromkeys(METRICS.dtypes, "x"),
        "seed": 0,
        **dict.fromkeys(("n_cells", "n_donors", "n_types"), 10),
        **dict.fromkeys(("value", "low", "high"), float("nan")),
        "note": "one batch only",
    }
    METRICS.write(pd.DataFrame([row]), tmp_path / "m.tsv")
    read = METRICS.read(tmp_path / "m.tsv")
    assert read["value"].isna().all()
    assert read["note"].tolist() == ["one batch only"]


def test_cell_names_hold_the_comment_sign(tmp_path):
    table = pd.DataFrame({"cell": ["liver#AAAC-1", "liver#CCCG-1"], "split": ["train", "test"]})
    SPLIT.write(table, tmp_path / "s.tsv")
    pd.testing.assert_frame_equal(SPLIT.read(tmp_path / "s.tsv"), table)
