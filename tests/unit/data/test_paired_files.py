"""Paired files too large to hold become the cells that they become when they are held."""

import gzip

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.config import QcConfig
from epifoundation.data import by_rows as rows_of_file
from epifoundation.data import csr_files, paired_files
from epifoundation.data.normalised import integers_of
from epifoundation.data.paired_files import import_cells
from epifoundation.errors import DataError
from epifoundation.multiome import read_multiome
from epifoundation.samples import COLUMNS, Sample

N_CELLS, N_GENES, N_PEAKS = 240, 30, 50
QC = QcConfig(
    min_rna_umis=20,
    max_rna_umis=1e9,
    min_atac_reads=5,
    max_atac_reads=1e9,
    atac_reads="in_peaks",
    max_nucleosome_signal=2,
    nucleosome_lines="all",
    tss_enrichment="fast",
    min_tss_enrichment=1,
)
SAMPLE = Sample(**dict.fromkeys(COLUMNS, "") | {"sample": "released", "tissue": "many"})


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch) -> None:
    monkeypatch.setattr(csr_files, "BLOCK_ENTRIES", 300)
    monkeypatch.setattr(paired_files, "ROWS_AT_ONCE", 50)


@pytest.fixture
def files() -> tuple[ad.AnnData, ad.AnnData]:
    """RNA and ATAC as the authors released theirs: obs annot and batch, peaks chr-start-end."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {
            "annot": rng.choice(["T cell", "B cell"], N_CELLS),
            "batch": np.repeat(["GSM1_GSM2", "ENCSR1"], N_CELLS // 2),
        },
        index=[f"cell{i}" for i in range(N_CELLS)],
    )
    rna = sparse.csr_matrix(rng.poisson(0.9, (N_CELLS, N_GENES)), dtype=np.float32)
    atac = sparse.csr_matrix(rng.random((N_CELLS, N_PEAKS)) < 0.15, dtype=np.float32)
    peaks = [f"chr1-{start + 1}-{start + 500}" for start in range(1000, 51_000, 1000)]
    genes = pd.DataFrame(index=[f"GENE{i}" for i in range(N_GENES)])
    return (
        ad.AnnData(rna, obs=obs, var=genes),
        ad.AnnData(atac, obs=obs.copy(), var=pd.DataFrame(index=peaks)),
    )


def imported(parts, folder, large: int, qc: QcConfig | None = QC):
    paths = [folder / "rna.h5ad", folder / "atac.h5ad"]
    for part, path in zip(parts, paths, strict=True):
        part.write_h5ad(path)
    genes = pd.DataFrame({"gene_id": ["E1"], "gene_name": ["GENE3"], "gene_type": ["lncRNA"]})
    genes["chrom"] = "chrM"
    output = folder / "cells.h5mu"
    tables = import_cells(*paths, output, SAMPLE, qc, genes, mitochondrial="chrM", large=large)
    return read_multiome(output), tables


def assert_same(streamed, held) -> None:
    (one, tables), (other, other_tables) = streamed, held
    pd.testing.assert_frame_equal(one.obs, other.obs)
    for name in ("rna", "atac"):
        pd.testing.assert_frame_equal(one[name].var, other[name].var)
        assert one[name].X.dtype == other[name].X.dtype == np.int32
        assert (one[name].X != other[name].X).nnz == 0
        assert one[name].X.has_sorted_indices
    for table, expected in zip(tables, other_tables, strict=True):
        pd.testing.assert_frame_equal(table, expected)


def test_streamed_as_held(files, tmp_path) -> None:
    streamed, held = imported(files, tmp_path, 0), imported(files, tmp_path, 2**40)
    assert_same(streamed, held)
    obs = streamed[0].obs
    assert 0 < len(obs) < N_CELLS
    assert set(obs["cell_type"]) == {"T cell", "B cell"}
    assert set(obs["batch"]) == {"GSM1_GSM2", "ENCSR1"}
    assert obs["frac_mitochondrial"].max() > 0
    assert streamed[0]["atac"].var.iloc[0].tolist() == ["chr1", 1000, 1500]


def test_cells_in_another_order(files, tmp_path) -> None:
    rna, atac = files
    atac = atac[np.random.default_rng(1).permutation(N_CELLS)].copy()
    atac.obs_names = atac.obs_names + "_atac"
    rna.obs_names = rna.obs_names + "_rna"
    assert_same(imported((rna, atac), tmp_path, 0), imported((rna, atac), tmp_path, 2**40))


def test_counts_are_recovered_from_log_normalised_rna(files, tmp_path) -> None:
    rna, atac = files
    expected, _ = imported((rna, atac), tmp_path, 0, qc=None)
    factor = 1e4 / np.maximum(np.asarray(rna.X.sum(axis=1)).ravel(), 1)
    normalised = rna.copy()
    normalised.X = sparse.csr_matrix(sparse.diags_array(factor) @ rna.X, dtype=np.float32).log1p()
    for large in (0, 2**40):
        found, _ = imported((normalised, atac), tmp_path, large, qc=None)
        assert (found["rna"].X != expected["rna"].X).nnz == 0


@pytest.mark.parametrize("entries", [100, 2**25])
def test_matrices_by_columns_and_dense_ones(files, tmp_path, monkeypatch, entries: int) -> None:
    monkeypatch.setattr(rows_of_file, "RANGE_ENTRIES", entries)
    monkeypatch.setattr(rows_of_file, "READ_ENTRIES", 170)
    expected = imported(files, tmp_path, 0)
    rna, atac = files
    stored = (ad.AnnData(rna.X.toarray(), obs=rna.obs, var=rna.var), atac.copy())
    stored[1].X = atac.X.tocsc()
    assert_same(imported(stored, tmp_path, 0), expected)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".h5ad", ".h5ad", ".h5mu"]


@pytest.mark.parametrize("large", [0, 2**40])
def test_a_missing_type_is_no_type(files, tmp_path, large: int) -> None:
    files[0].obs.loc["cell3", "annot"] = np.nan
    cells, _ = imported(files, tmp_path, large, qc=None)
    assert cells.obs.loc["released#cell3", "cell_type"] == ""
    assert (cells.obs["cell_type"] == "").sum() == 1


@pytest.mark.parametrize("large", [0, 2**40])
def test_one_gzipped_file_of_both_modalities(files, tmp_path, large: int) -> None:
    expected, _ = imported(files, tmp_path, 0, qc=None)
    rna, atac = files
    both = ad.concat([atac, rna], axis="var", merge="first")
    both.var["feature_types"] = ["ATAC"] * N_PEAKS + ["GEX"] * N_GENES
    both.layers["counts"] = both.X.copy()
    both.X = both.X * 0.3
    both.write_h5ad(tmp_path / "both.h5ad")
    packed = tmp_path / "GSE1_processed.h5ad.gz"
    packed.write_bytes(gzip.compress((tmp_path / "both.h5ad").read_bytes(), 1))
    output = tmp_path / "one.h5mu"
    import_cells(packed, packed, output, SAMPLE, None, None, mitochondrial="chrM", large=large)
    found = read_multiome(output)
    for name in ("rna", "atac"):
        assert found[name].var_names.tolist() == expected[name].var_names.tolist()
        assert (found[name].X != expected[name].X).nnz == 0


def test_values_that_are_no_counts() -> None:
    for values in ([0.5, 0.8], [-1.0, 2.0], [np.nan, 1.0], [20.5, 3.1]):
        assert integers_of(sparse.csr_matrix([values])) is None


def test_barcodes_that_batches_share(files, tmp_path) -> None:
    for part in files:
        part.obs_names = [f"cell{i % 120}" for i in range(N_CELLS)]
    cells, _ = imported(files, tmp_path, 0, qc=None)
    assert cells.obs_names[[0, -1]].tolist() == [
        "released#GSM1_GSM2:cell0",
        "released#ENCSR1:cell119",
    ]


def fractions_later(rna, atac):
    rna.X.data[-1] = 0.3
    return rna, atac


def other_cells(rna, atac):
    return rna, atac[1:].copy()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (fractions_later, "rna.h5ad: /X holds fractions"),
        (other_cells, r"sample released: barcodes of RNA \(240\) and ATAC \(239\) differ"),
        (lambda rna, atac: (atac, rna), "are regions, not genes"),
    ],
)
def test_what_cannot_be_used_leaves_nothing(files, tmp_path, change, message: str) -> None:
    with pytest.raises(DataError, match=message):
        imported(change(*files), tmp_path, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["atac.h5ad", "rna.h5ad"]


def test_matrices_of_old_anndata(files, tmp_path) -> None:
    imported(files, tmp_path, 0)
    with h5py.File(tmp_path / "atac.h5ad", "r+") as file:
        del file["X"].attrs["encoding-type"]
        file["X"].attrs["h5sparse_format"] = "csr"
    paths = (tmp_path / "rna.h5ad", tmp_path / "atac.h5ad")
    with pytest.raises(DataError, match="atac.h5ad: /X is of an old format.*write it again"):
        import_cells(*paths, tmp_path / "m.h5mu", SAMPLE, QC, None, mitochondrial="chrM", large=0)


def test_a_damaged_file(files, tmp_path) -> None:
    imported(files, tmp_path, 0)
    whole = (tmp_path / "atac.h5ad").read_bytes()
    (tmp_path / "atac.h5ad").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="atac.h5ad cannot be read as h5ad.*fetch it again"):
        import_cells(
            tmp_path / "rna.h5ad",
            tmp_path / "atac.h5ad",
            tmp_path / "again.h5mu",
            SAMPLE,
            QC,
            None,
            mitochondrial="chrM",
            large=0,
        )


@pytest.mark.filterwarnings("ignore:.*written without encoding metadata")
@pytest.mark.parametrize("name", ["B_abffffe", "D_e056d38"])
def test_real_marrow_is_the_same_either_way(shared, tmp_path, name: str) -> None:
    paths = [shared / f"data/bmmc_neurips2021/{name}.{kind}.h5ad" for kind in ("rna", "atac")]
    made = []
    for large in (0, 2**40):
        output = tmp_path / f"{large}.h5mu"
        tables = import_cells(*paths, output, SAMPLE, None, None, mitochondrial="chrM", large=large)
        made.append((read_multiome(output), tables))
    assert_same(*made)
    assert made[0][0].n_obs == 500
    assert made[0][0].obs["cell_type"].nunique() > 15
