"""Embeddings of cells × peaks: a row per cell, which nothing but the cell's peaks decides."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from epifoundation.cli import main
from epifoundation.errors import DataError, ModelError
from epifoundation.hub import Design, FoundationModel
from epifoundation.inference import chunks
from epifoundation.inference.matrix import crops_of

MAX_PEAKS = 60  # of the tiny model; some cells below have more


@pytest.fixture(scope="module")
def model(tiny_atlas, tiny_model) -> FoundationModel:
    design = Design(tiny_model, ("genes",))
    built = FoundationModel.build(design, tiny_atlas.vocabulary, seed=0)
    norm = built.network.peak_batch_norm
    norm.running_mean.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    return built


@pytest.fixture
def cells(model) -> ad.AnnData:
    rng = np.random.default_rng(0)
    n_peaks = model.vocabulary.n_peaks
    shares = np.linspace(0.05, 0.95, 30)
    counts = (rng.random((30, n_peaks)) < shares[:, None]) * rng.integers(1, 4, (30, n_peaks))
    obs = pd.DataFrame({"donor": ["a", "b"] * 15}, index=[f"s#{i}" for i in range(30)])
    names = model.vocabulary.peaks["name"].to_numpy()
    return ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=names))


def test_some_cells_are_longer_than_the_model_reads(cells):
    assert np.any(cells.X.getnnz(axis=1) > MAX_PEAKS)
    assert np.any(cells.X.getnnz(axis=1) < MAX_PEAKS)


def test_a_cell_is_what_it_is_alone(model, cells, monkeypatch):
    together = model.embed(cells)
    assert together.shape == (30, model.design.config.d_model)
    assert together.dtype == np.float32
    alone = np.concatenate([model.embed(cells[i]) for i in range(30)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    monkeypatch.setattr(chunks, "CELLS_PER_CHUNK", 7)
    shuffled = np.random.default_rng(1).permutation(30)
    few = model.embed(cells[shuffled], batch_tokens=50)
    np.testing.assert_allclose(few, together[shuffled], atol=1e-5)


def test_threads_do_not_matter(model, cells):
    before, together = torch.get_num_threads(), model.embed(cells)
    try:
        torch.set_num_threads(2)
        np.testing.assert_allclose(model.embed(cells), together, atol=1e-5)
    finally:
        torch.set_num_threads(before)


def test_order_and_depth_of_columns_do_not_matter(model, cells):
    together = model.embed(cells)
    reversed_columns = cells[:, ::-1].copy()
    reversed_columns.X = (reversed_columns.X > 0).astype(np.float64)
    np.testing.assert_allclose(model.embed(reversed_columns), together, atol=1e-5)


def test_crops_go_round_all_peaks():
    tokens = np.arange(4, 104, dtype=np.int32)
    drawn = crops_of(tokens, 40, 3, np.random.default_rng(0))
    assert [len(np.unique(crop)) for crop in drawn] == [40, 40, 40]
    assert set(np.concatenate(drawn)) == set(tokens)
    assert (crops_of(tokens, 40, 1, np.random.default_rng(0))[0] == drawn[0]).all()
    assert crops_of(tokens, 100, 3, np.random.default_rng(0))[0] is tokens


def test_crops_are_averaged(model, cells):
    deep = cells[-1]
    one, four = model.embed(deep), model.embed(deep, crops=4)
    tokens = np.flatnonzero(deep.X.toarray()[0]) + 4
    from epifoundation.inference.matrix import _generator

    drawn = crops_of(tokens.astype(np.int32), MAX_PEAKS, 4, _generator(0, deep.obs_names[0]))
    each = []
    for crop in drawn:
        kept = np.zeros((1, cells.n_vars))
        kept[0, crop - 4] = 1
        each.append(model.embed(ad.AnnData(kept, var=cells.var)))
    np.testing.assert_allclose(one, each[0], atol=1e-5)
    np.testing.assert_allclose(four[0], np.mean(each, axis=0)[0], atol=1e-5)
    shallow = cells[0]
    np.testing.assert_allclose(model.embed(shallow, crops=4), model.embed(shallow), atol=1e-6)


def _coordinates(model) -> pd.DataFrame:
    return model.vocabulary.peaks[["chrom", "start", "end"]]


def _labels(peaks: pd.DataFrame, form: str, shift: int) -> list[str]:
    return [form.format(p.chrom, p.start + shift, p.end) for p in peaks.itertuples()]


@pytest.mark.parametrize(
    ("form", "shift"), [("{}:{}-{}", 0), ("{}-{}-{}", 1)], ids=["10x", "Signac"]
)
def test_peaks_are_known_by_their_coordinates(model, cells, form, shift):
    together = model.embed(cells)
    renamed = cells.copy()
    renamed.var_names = _labels(_coordinates(model), form, shift)
    np.testing.assert_array_equal(model.embed(renamed), together)
    renamed.var_names = [f"peak{i}" for i in range(cells.n_vars)]
    renamed.var[["chrom", "start", "end"]] = _coordinates(model).to_numpy()
    np.testing.assert_array_equal(model.embed(renamed), together)


def test_starts_off_by_one_are_noticed(model, cells):
    cells.var_names = _labels(_coordinates(model), "{}-{}-{}", 0)
    with pytest.raises(DataError, match=r"0 of \d+ peaks are the model's, but .* more by one"):
        model.embed(cells)


def test_other_peaks_are_counted_and_may_be_left_out(model, cells):
    together = model.embed(cells)
    names = [*cells.var_names, "chrQ:1-5", "chrQ:7-9"]
    values = sparse.hstack([cells.X, cells.X[:, :2]], format="csr")
    other = ad.AnnData(values, obs=cells.obs, var=pd.DataFrame(index=names))
    with pytest.raises(DataError, match=r"2 are not \(first: chrQ:1-5; .*--ignore-other-peaks"):
        model.embed(other)
    np.testing.assert_array_equal(model.embed(other, ignore_other_peaks=True), together)
    other.var_names = [f"chrQ:{i}-{i + 1}" for i in range(other.n_vars)]
    with pytest.raises(DataError, match="peaks are among") as refused:
        model.embed(other, ignore_other_peaks=True)
    assert "0 of" in str(refused.value)


def test_a_peak_that_stands_twice_is_refused(model, cells):
    values = sparse.hstack([cells.X, cells.X[:, :1]], format="csr")
    rows = [*range(cells.n_vars), 0]
    columns = _coordinates(model).iloc[rows].set_axis([f"peak{i}" for i in range(len(rows))])
    with pytest.raises(DataError, match=r"1 of 301 columns are a peak .* \(first: peak300\)"):
        model.embed(ad.AnnData(values, obs=cells.obs, var=columns))


def test_a_barcode_that_stands_twice_is_refused(model, cells):
    cells.obs_names = ["s#0", *cells.obs_names[:-1]]
    with pytest.raises(DataError, match=r"1 of 30 barcodes repeat \(first: s#0\)"):
        model.embed(cells)


def test_cells_without_peaks_are_named_or_left_out(model, cells):
    values = cells.X.toarray()
    values[[3, 8]] = 0
    cells.X = sparse.csr_matrix(values)
    with pytest.raises(DataError, match=r"2 of 30 cells have no .* \(first: s#3\).*--skip-empty"):
        model.embed(cells)
    embeddings = model.embed(cells, skip_empty=True)
    assert np.flatnonzero(np.isnan(embeddings).any(axis=1)).tolist() == [3, 8]


@pytest.mark.parametrize("value", [-1.0, 0.5, np.nan])
def test_what_is_no_count_is_refused(model, cells, value):
    values = cells.X.toarray().astype(float)
    values[4, 2] = value
    cells.X = values
    with pytest.raises(DataError, match=r"1 of .* are no counts .*s#4.*--layer counts"):
        model.embed(cells)
    cells.layers["counts"] = np.nan_to_num(np.ceil(np.abs(values)))
    assert np.isfinite(model.embed(cells, layer="counts")).all()


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: …")]
)
def test_too_little_memory_names_the_knob(model, cells, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(type(model.network), "forward", fail)
    with pytest.raises(ModelError, match=r"memory of cpu .* Lower --batch-tokens \(now 99\)"):
        model.embed(cells, device="cpu", batch_tokens=99)
    error.args = ("another",)
    if type(error) is RuntimeError:
        with pytest.raises(RuntimeError, match="another"):
            model.embed(cells, device="cpu")


def test_a_gpu_that_is_not_there_is_said(model, cells):
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(ModelError, match="no GPU"):
        model.embed(cells, device="cuda")


@pytest.mark.parametrize("stored", ["csr", "csc", "dense"])
def test_command_reads_the_file_and_keeps_obs(model, cells, tmp_path, stored):
    together = model.embed(cells)
    values = cells.X
    cells.X = {"csr": values, "csc": values.tocsc(), "dense": values.toarray()}[stored]
    cells.write_h5ad(tmp_path / "m.h5ad")
    model.save(tmp_path / "model")
    paths = ["--model", tmp_path / "model", "--matrix", tmp_path / "m.h5ad"]
    arguments = ["embed", *paths, "--output", tmp_path / "o.h5ad", "--device", "cpu"]
    assert main([str(argument) for argument in arguments]) == 0
    written = ad.read_h5ad(tmp_path / "o.h5ad")
    np.testing.assert_allclose(written.obsm["X_epifoundation"], together, atol=1e-5)
    assert written.obsm["X_epifoundation"].dtype == np.float32
    assert written.obs["donor"].tolist() == cells.obs["donor"].tolist()
    assert written.obs_names.equals(cells.obs_names)
    assert written.uns["epifoundation"]["vocabulary"] == model.vocabulary.hash
    backed = ad.read_h5ad(tmp_path / "m.h5ad", backed="r")
    np.testing.assert_allclose(model.embed(backed), together, atol=1e-5)
    backed.file.close()


def _embed_file(model, tmp_path) -> int:
    model.save(tmp_path / "model")
    paths = ["--model", tmp_path / "model", "--matrix", tmp_path / "m.h5ad"]
    arguments = ["embed", *paths, "--output", tmp_path / "o.h5ad"]
    return main([str(argument) for argument in arguments])


def test_command_refuses_files_of_another_layout(model, cells, tmp_path, capsys):
    cells.write_h5ad(tmp_path / "m.h5ad")
    with h5py.File(tmp_path / "m.h5ad", "a") as handle:
        handle["X"].attrs["shape"] = [30, 7]
    assert _embed_file(model, tmp_path) == 2
    assert "the matrix is 30 × 7, but 30 cells and 300 peaks" in capsys.readouterr().err
    with h5py.File(tmp_path / "m.h5ad", "a") as handle:
        del handle["X"]
        handle.create_group("X")
    assert _embed_file(model, tmp_path) == 2
    assert "not laid out as an h5ad" in capsys.readouterr().err
    with h5py.File(tmp_path / "m.h5ad", "a") as handle:
        del handle["X"]
    assert _embed_file(model, tmp_path) == 2
    assert "it has no X (found: " in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"no hdf5"], ids=["absent", "empty", "text"])
def test_command_names_a_file_it_cannot_read(model, tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "m.h5ad").write_bytes(content)
    assert _embed_file(model, tmp_path) == 2
    assert "m.h5ad" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "o.h5ad").exists()
