"""Counts that others made."""

import gzip
import logging

import anndata as ad
import h5py
import mudata as md
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

from epifoundation.config import QcConfig
from epifoundation.data.cells import cells_of_barcodes, cells_of_matrices
from epifoundation.data.fragment_files import index_fragments
from epifoundation.data.fragment_reader import read_fragments
from epifoundation.data.imports import pair, peak_regions, read_atac, read_rna
from epifoundation.errors import DataError
from epifoundation.multiome import read_multiome, write_multiome
from epifoundation.samples import Sample

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:mudata")

COUNTS = np.array([[1, 0, 2], [0, 3, 0]])
GENES = pd.DataFrame(
    {
        "gene_id": ["E1.4", "E2", "E3"],
        "gene_name": ["A", "B", "C"],
        "gene_type": ["protein_coding", "lncRNA", "protein_coding"],
        "chrom": ["chr1", "chr2", "chrM"],
    }
)
SAMPLE = Sample(
    sample="s1",
    atlas="a",
    role="atlas",
    dataset="",
    tissue="Liver",
    batch="",
    donor="d",
    disco_atlas="",
    entry="matrices",
    source="",
    rna="r",
    atac="t",
    caution="",
)


def counts(values=COUNTS, cells=("x", "y"), features=("A", "B", "Z"), **var):
    index = pd.Index(features, dtype=object)
    return ad.AnnData(
        sparse.csr_matrix(np.asarray(values, dtype=np.float32)),
        obs=pd.DataFrame(index=pd.Index(cells, dtype=object)),
        var=pd.DataFrame(var, index=index),
    )


@pytest.fixture
def tenx_h5(tmp_path):
    path = tmp_path / "filtered.h5"
    matrix = sparse.csr_matrix(np.array([[1, 0, 2, 5], [0, 3, 0, 5]], dtype=np.int32))
    text = h5py.string_dtype("ascii")
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        group["shape"] = np.array([4, 2])
        group["barcodes"] = np.array(["x", "y"], dtype=text)
        features = group.create_group("features")
        features["id"] = np.array(["E1", "E9", "E3", "chr1:5-9"], dtype=text)
        features["name"] = np.array(["A", "A", "C", "chr1:5-9"], dtype=text)
        kinds = ["Gene Expression"] * 3 + ["Peaks"]
        features["feature_type"] = np.array(kinds, dtype=text)
        features["interval"] = np.array(["", "chr7:1-5", "", "chr1:5-9"], dtype=text)
    return path


def test_genes_and_peaks_of_a_10x_file(tenx_h5):
    rna = read_rna(tenx_h5, GENES)
    assert rna.X.toarray().tolist() == COUNTS.tolist()
    assert rna.X.dtype == np.int32
    assert rna.var_names.tolist() == ["A", "A.1", "C"]
    assert rna.var.to_numpy().tolist() == [
        ["E1", "chr1", "protein_coding"],
        ["E9", "chr7", ""],
        ["E3", "chrM", "protein_coding"],
    ]
    atac = read_atac(tenx_h5)
    assert atac.X.toarray().tolist() == [[5], [5]]
    assert atac.var.to_numpy().tolist() == [["chr1", 5, 9]]


def test_a_10x_folder_reads_like_the_file(tmp_path):
    folder = tmp_path / "matrix"
    folder.mkdir()
    with gzip.open(folder / "matrix.mtx.gz", "wb") as handle:
        io.mmwrite(handle, sparse.coo_matrix(COUNTS.T))
    (folder / "barcodes.tsv").write_text("x\ny\n")
    (folder / "features.tsv").write_text("".join(f"E{i}\tA\tGene Expression\n" for i in (1, 2, 3)))
    rna = read_rna(folder, None)
    assert rna.X.toarray().tolist() == COUNTS.tolist()
    assert rna.var["gene_id"].tolist() == ["E1", "E2", "E3"]
    assert rna.var_names.tolist() == ["A", "A.1", "A.2"]
    assert set(rna.var["chrom"]) == {"unknown"}
    (folder / "barcodes.tsv").write_text("x\n")
    with pytest.raises(DataError, match="3 features × 2 barcodes, the lists beside it 3 and 1"):
        read_rna(folder, None)
    (folder / "barcodes.tsv").unlink()
    with pytest.raises(DataError, match="has no barcodes.tsv"):
        read_rna(folder, None)


def test_text_files_as_geo_names_them_and_as_seurat_writes_them(tmp_path):
    for sample in ("GSM1_kidney_", "GSM2_kidney_"):
        with gzip.open(tmp_path / f"{sample}matrix.mtx.gz", "wb") as handle:
            io.mmwrite(handle, sparse.coo_matrix(COUNTS.T))
        (tmp_path / f"{sample}barcodes.tsv").write_text('"x"\n"AC-1"\n"GT-1"\n')
        (tmp_path / f"{sample}features.tsv").write_text("x\nA\nB\nC\n")
    rna = read_rna(tmp_path / "GSM2_kidney_matrix.mtx.gz", GENES)
    assert rna.X.toarray().tolist() == COUNTS.tolist()
    assert rna.obs_names.tolist() == ["AC-1", "GT-1"]
    assert rna.var_names.tolist() == ["A", "B", "C"]
    with pytest.raises(DataError, match=r"holds 2 matrices \(GSM1_kidney_matrix.mtx.gz, GSM2_k"):
        read_rna(tmp_path, GENES)
    (tmp_path / "GSM1_kidney_matrix.mtx.gz").unlink()
    assert read_rna(tmp_path, GENES).shape == (2, 3)
    with pytest.raises(DataError, match="has no matrix.mtx"):
        read_rna(tmp_path.parent, GENES)


def test_supplementary_files_of_a_geo_series(tenx_h5, tmp_path):
    """GSE232222's: a matrix of 10x and fragments without an index, named by sample and library."""
    folder = tmp_path / "suppl"
    folder.mkdir()
    counts = folder / "GSM7321074_090922Nx_filtered_feature_bc_matrix.h5"
    packed = folder / "GSM7321075_091422Nx_filtered_feature_bc_matrix.h5.gz"
    fragments = folder / "GSM7321074_090922Nx_atac_fragments.tsv.gz"
    counts.write_bytes(tenx_h5.read_bytes())
    packed.write_bytes(gzip.compress(tenx_h5.read_bytes()))
    fragments.write_bytes(gzip.compress(b"# id=090922Nx\nchr2\t5\t90\tx\t1\nchr1\t7\t80\ty\t2\n"))
    for path in (counts, packed):
        assert read_rna(path, GENES).X.toarray().tolist() == COUNTS.tolist()
    index_fragments(fragments, tmp_path / "atac_fragments.tsv.gz")
    assert (tmp_path / "atac_fragments.tsv.gz.tbi").exists()
    chunks = list(read_fragments(tmp_path / "atac_fragments.tsv.gz", ["x", "y"]))
    assert sorted(np.concatenate([chunk.barcode for chunk in chunks])) == [0, 1]
    packed.write_bytes(packed.read_bytes()[:60])
    with pytest.raises(DataError, match="bc_matrix.h5.gz cannot be read.*check the download"):
        read_rna(packed, GENES)


def test_counts_come_from_the_layer_or_from_raw(tmp_path):
    path = tmp_path / "rna.h5ad"
    normalised = counts(COUNTS * 0.5, features=("A", "B", "C"), gene_ids=["E1.9", "E7", ""])
    layered = normalised.copy()
    layered.layers["counts"] = sparse.csr_matrix(COUNTS)
    layered.write_h5ad(path)
    rna = read_rna(path, GENES)
    assert rna.X.toarray().tolist() == COUNTS.tolist()
    assert rna.var["chrom"].tolist() == ["chr1", "chr2", "chrM"]  # by id, then by name
    assert rna.var["gene_id"].tolist() == ["E1.9", "E7", "E3"]
    raw = normalised.copy()
    raw.raw = counts(features=("A", "B", "C"))
    raw.write_h5ad(path)
    assert read_rna(path, None).X.toarray().tolist() == COUNTS.tolist()
    normalised.write_h5ad(path)
    with pytest.raises(DataError, match="holds no integer counts"):
        read_rna(path, None)


def test_an_h5mu_gives_both_with_shared_labels(tmp_path):
    path = tmp_path / "both.h5mu"
    atac = counts(features=("chr1:1-5", "chr1:7-9", "chr2:1-5"))
    joined = md.MuData({"rna": counts(features=("A", "B", "C")), "atac": atac})
    joined.obs["cell_type"] = pd.Categorical(["T", "B"])
    joined.write_h5mu(path)
    assert read_rna(path, None).obs["cell_type"].tolist() == ["T", "B"]
    assert read_atac(path).var["end"].tolist() == [5, 9, 5]
    md.MuData({"rna": counts(features=("A", "B", "C"))}).write_h5mu(path)
    with pytest.raises(DataError, match=r"has no modality atac \(found rna\)"):
        read_atac(path)


@pytest.mark.parametrize(
    ("names", "columns", "expected", "taken_as"),
    [
        pytest.param(["chr1:5-9"], {}, ("chr1", 5, 9), "0-based", id="10x"),
        pytest.param(["chr1-5-9"], {}, ("chr1", 4, 9), "1-based, closed", id="Signac"),
        pytest.param(["HLA-A-5-9"], {}, ("HLA-A", 4, 9), "1-based", id="dash in chromosome"),
        pytest.param(["chr1_5_9"], {}, ("chr1", 5, 9), "0-based", id="underscores"),
        pytest.param(
            ["p"], {"chr": "chr1", "start": "5", "end": "9"}, ("chr1", 5, 9), "0-based", id="text"
        ),
        pytest.param(
            ["p"], {"seqnames": "chr1", "start": 5, "end": 9}, ("chr1", 4, 9), "1-based", id="R"
        ),
    ],
)
def test_coordinates_are_read_by_convention(caplog, names, columns, expected, taken_as):
    var = pd.DataFrame({key: [value] for key, value in columns.items()}, index=names)
    with caplog.at_level(logging.INFO):
        regions = peak_regions(var, "file")
    assert tuple(regions.iloc[0]) == expected
    assert taken_as in caplog.text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["chr1:5-9", "peak_7"], r"1 of 2 names are not .* \(first: peak_7\)"),
        (["chr1:9-5", "chr1:5-9"], r"1 of 2 peaks do not start before they end, .* chr1:9-5"),
        (["chr1-0-5"], "do not start before they end"),
    ],
)
def test_unreadable_coordinates_are_refused(names, message):
    with pytest.raises(DataError, match=message):
        peak_regions(pd.DataFrame(index=names), "file")


@pytest.mark.parametrize("name", ["missing.h5ad", "table.csv", "broken.h5ad"])
def test_other_files_are_refused(tmp_path, name):
    if name != "missing.h5ad":
        (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=name):
        read_rna(tmp_path / name, None)


def test_pairs_are_matched_by_barcode():
    atac = counts([[1, 0], [0, 2]], cells=("y_atac", "x_atac"), features=("p", "q"))
    atac.obs["cell_type"] = ["T", "B"]
    rna, paired = pair(counts(cells=("x_rna", "y_rna")), atac, where="s")
    assert rna.obs_names.tolist() == paired.obs_names.tolist() == ["x", "y"]
    assert paired.X.toarray().tolist() == [[0, 2], [1, 0]]
    assert rna.obs["cell_type"].tolist() == ["B", "T"]


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_pairs_of_different_cells_are_refused():
    with pytest.raises(DataError) as error:
        pair(counts(), counts(cells=("x", "w")), where="sample s1")
    assert "sample s1: barcodes of RNA (2) and ATAC (2) differ" in str(error.value)
    assert "1 are in RNA only (first: y), 1 are in ATAC only (first: w)" in str(error.value)
    assert "Keep the cells that both have" in str(error.value)
    with pytest.raises(DataError, match=r"sample s1, RNA: 1 of 2 barcodes repeat \(first: x\)"):
        pair(counts(cells=("x", "x")), counts(), where="sample s1")


@pytest.mark.parametrize(
    ("cells", "advice"),
    [
        (("x-1", "y-1"), r"agree without the numbers at their ends \(x, x-1\)"),
        (("w", "v"), r"No barcode is in both.* translated to GEX"),
    ],
)
def test_barcodes_that_never_agree_are_advised(cells, advice):
    with pytest.raises(DataError, match=advice):
        pair(counts(), counts(cells=cells), where="sample s1")


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_repeated_barcodes_and_empty_counts_are_refused(tmp_path):
    counts(cells=("x", "x")).write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(DataError, match=r"a\.h5ad: 1 of 2 barcodes repeat .* several samples"):
        read_rna(tmp_path / "a.h5ad", None)
    counts([[0, 0], [0, 0]], features=("chr1:1-5", "chr2:1-5")).write_h5ad(tmp_path / "b.h5ad")
    with pytest.raises(DataError, match=r"b\.h5ad: all of 2 × 2 counts are 0"):
        read_atac(tmp_path / "b.h5ad")


@pytest.fixture
def paired(tmp_path):
    rna, atac = tmp_path / "rna.h5ad", tmp_path / "atac.h5ad"
    genes = counts(features=("A", "B", "C"))
    genes.obs["cell_type"], genes.obs["batch"] = ["T", "B"], ["b1", "b2"]
    genes.write_h5ad(rna)
    counts([[4, 0], [1, 1]], features=("chr1:1-5", "chr2:1-5")).write_h5ad(atac)
    return read_rna(rna, GENES), read_atac(atac)


def test_matrices_become_cells(paired, tmp_path):
    cells, funnel, _ = cells_of_matrices(*paired, SAMPLE, None, mitochondrial="chrM")
    write_multiome(cells, tmp_path / "cells.h5mu")
    obs = read_multiome(tmp_path / "cells.h5mu", needs_obs=("cell_type", "batch")).obs
    assert obs.index.tolist() == ["s1#x", "s1#y"]
    assert obs["barcode"].tolist() == ["x", "y"]
    assert obs["batch"].tolist() == ["b1", "b2"]
    assert obs["cell_type"].tolist() == ["T", "B"]
    assert obs["n_atac_in_peaks"].tolist() == [4, 2]
    assert obs["frac_mitochondrial"].tolist() == [2 / 3, 0]
    assert funnel["n_barcodes"].tolist() == [2, 2]


def test_the_sheet_decides_the_batch_first(paired):
    named = Sample(**{**SAMPLE.__dict__, "batch": "lane"})
    cells, _, _ = cells_of_matrices(*paired, named, None, mitochondrial="chrM")
    assert set(cells.obs["batch"]) == {"lane"}
    rna, atac = paired
    rna.obs = rna.obs[[]]
    cells, _, _ = cells_of_matrices(rna, atac, SAMPLE, None, mitochondrial="chrM")
    assert set(cells.obs["batch"]) == {"s1"}


def test_quality_control_applies_to_matrices(paired):
    qc = QcConfig(
        min_rna_umis=0,
        max_rna_umis=10,
        min_atac_reads=2,
        max_atac_reads=10,
        atac_reads="fragments",
        max_nucleosome_signal=2,
        nucleosome_lines="all",
        tss_enrichment="fast",
        min_tss_enrichment=1,
    )
    cells, funnel, _ = cells_of_matrices(*paired, SAMPLE, qc, mitochondrial="chrM")
    assert cells.obs_names.tolist() == ["s1#x"]
    assert cells["atac"].X.toarray().tolist() == [[4, 0]]
    assert funnel["criterion"].tolist()[1:-1] == [
        "min_rna_umis",
        "max_rna_umis",
        "min_atac_reads",
        "max_atac_reads",
        "max_nucleosome_signal",
        "min_tss_enrichment",
    ]


def test_barcodes_become_cells_with_their_metrics(paired):
    rna, atac = paired
    metrics = pd.DataFrame({"barcode": ["x", "y"], "n_fragments": [7, 8]})
    cells, _, _ = cells_of_barcodes(rna, atac, metrics, SAMPLE, None)
    assert cells.obs["n_fragments"].tolist() == [7, 8]
    assert cells["rna"].var_names.tolist() == ["A", "B", "C"]
