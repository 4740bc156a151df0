"""What matrices, names of peaks and devices embedding takes, and what it says of others."""

import anndata as ad
import h5py
import mudata as md
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from epifoundation.cli import main
from epifoundation.errors import DataError, ModelError
from epifoundation.hub import Design, FoundationModel


@pytest.fixture(scope="module")
def model(tiny_atlas, tiny_model) -> FoundationModel:
    return FoundationModel.build(Design(tiny_model, ("genes",)), tiny_atlas.vocabulary, seed=0)


@pytest.fixture(scope="module")
def counts(model) -> np.ndarray:
    rng = np.random.default_rng(0)
    n_peaks = model.vocabulary.n_peaks
    return (rng.random((4, n_peaks)) < 0.1) * rng.integers(1, 4, (4, n_peaks))


def cells_of(values, names) -> ad.AnnData:
    obs = pd.DataFrame(index=[f"c{i}" for i in range(4)])
    var = names if isinstance(names, pd.DataFrame) else pd.DataFrame(index=names)
    return ad.AnnData(values, obs=obs, var=var)


@pytest.fixture
def cells(model, counts) -> ad.AnnData:
    return cells_of(sparse.csr_matrix(counts), model.vocabulary.peaks["name"].to_numpy())


def labels(model, form: str, shift: int) -> list[str]:
    peaks = model.vocabulary.peaks
    return [form.format(p.chrom, p.start + shift, p.end) for p in peaks.itertuples()]


@pytest.mark.parametrize("form", ["{}_{}_{}", "{}.{}.{}", "{}:{}_{}"])
@pytest.mark.parametrize("shift", [0, 1])
def test_labels_without_a_rule_are_what_the_peaks_tell(model, cells, caplog, form, shift):
    together = model.embed(cells)
    cells.var_names = labels(model, form, shift)
    caplog.set_level("INFO")
    np.testing.assert_array_equal(model.embed(cells), together)
    assert f"by their labels with {shift}-based starts" in caplog.text


def test_labels_that_could_be_either_are_refused(model, cells):
    names = labels(model, "{}_{}_{}", 0)
    cells.var_names = [*names[:-1], labels(model, "{}_{}_{}", 1)[-1]]
    with pytest.raises(
        DataError, match=r"such as chr1_\d+_\d+ do not say .*: 299 .*, 1 as the other"
    ):
        model.embed(cells, ignore_other_peaks=True)


def columns(model, **changed) -> pd.DataFrame:
    peaks = model.vocabulary.peaks
    parts = {name: peaks[name].to_numpy() for name in ("chrom", "start", "end")}
    return pd.DataFrame(parts | changed, index=[f"peak{i}" for i in range(len(peaks))])


def test_coordinates_may_be_text_or_categories(model, cells, counts):
    starts = model.vocabulary.peaks["start"]
    for column in (starts.astype(str), starts.astype(float), pd.Categorical(starts.astype(str))):
        other = cells_of(counts, columns(model, start=np.asarray(column)))
        np.testing.assert_array_equal(model.embed(other), model.embed(cells))


@pytest.mark.parametrize("junk", ["abc", None, "", "1.5", "9" * 30])
def test_a_coordinate_that_is_none_is_another_peak(model, counts, junk):
    starts = [junk, *model.vocabulary.peaks["start"].astype(str)[1:]]
    with pytest.raises(
        DataError, match=r"299 of 300 .*\(first: peak0; the model's are such as chr"
    ):
        model.embed(cells_of(counts, columns(model, start=starts)))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float16", "float64"])
def test_any_type_of_number_is_read(model, cells, counts, dtype):
    values = (counts > 0).astype(dtype)
    np.testing.assert_array_equal(
        model.embed(cells_of(values, cells.var_names)), model.embed(cells)
    )


@pytest.mark.parametrize("dtype", ["object", "complex128", "str"])
def test_what_is_no_number_is_refused(model, cells, counts, dtype):
    with pytest.raises(DataError, match="and no numbers"):
        model.embed(cells_of(counts.astype(dtype), cells.var_names))


def test_an_empty_matrix_is_refused(model, cells):
    with pytest.raises(DataError, match="is empty: 0 cells × 300 peaks"):
        model.embed(cells[:0])
    with pytest.raises(DataError, match="is empty: 4 cells × 0 peaks"):
        model.embed(cells[:, :0].copy())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda cells: "my.h5ad", r"my\.h5ad is a path\. Open it first: anndata\.read_h5ad"),
        (lambda cells: cells.X, "csr_matrix is no matrix with names"),
        (lambda cells: md.MuData({"atac": cells}), "MuData is .* such as its modality atac"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*pull_on_update:FutureWarning")
def test_what_is_no_anndata_is_told_how_to_be_one(model, cells, make, said):
    with pytest.raises(DataError, match=said):
        model.embed(make(cells))


@pytest.mark.parametrize("device", ["mps", "tpu", "", "cuda:x"])
def test_another_device_is_refused(model, cells, device):
    with pytest.raises(ModelError, match="is no device a model can be read on; say cpu or cuda"):
        model.embed(cells, device=device)


def test_settings_out_of_range_are_refused(model, cells, capsys):
    with pytest.raises(DataError, match=r"the seed \(-1\) at least 0"):
        model.embed(cells, seed=-1)
    common = ["embed", "--model", "m", "--matrix", "x", "--output", "o"]
    for option, value in (("--seed", "-1"), ("--crops", "0"), ("--batch-tokens", "0")):
        with pytest.raises(SystemExit):
            main([*common, option, value])
        assert f"argument {option}: {value} is " in capsys.readouterr().err


def test_a_device_that_is_not_there_is_told_before_anything_is_read(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    arguments = ["embed", "--model", "nowhere", "--matrix", "nowhere", "--output", "o"]
    assert main([*arguments, "--device", "cuda"]) == 2
    assert "no GPU that PyTorch" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert main([*arguments, "--device", "cuda:1"]) == 2
    assert "cuda:1: there is 1 GPU here" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_a_file_damaged_in_its_middle_is_one_line(model, cells, tmp_path, capsys, form):
    path = tmp_path / "m.h5ad"
    cells.X = cells.X.asformat(form)
    cells.write_h5ad(path, compression="gzip")
    with h5py.File(path) as handle:
        begin = handle["X/indices"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[begin : begin + 20] = bytes(20)
    path.write_bytes(content)
    model.save(tmp_path / "model")
    arguments = ["--model", tmp_path / "model", "--matrix", path, "--output", tmp_path / "o.h5ad"]
    assert main(["embed", *map(str, arguments)]) == 2
    assert "m.h5ad is damaged" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "o.h5ad").exists()


def test_a_damaged_model_is_one_line(model, cells, tmp_path, capsys):
    cells.write_h5ad(tmp_path / "m.h5ad")
    model.save(tmp_path / "model")
    peaks = tmp_path / "model" / "peaks.bed.gz"
    peaks.write_bytes(peaks.read_bytes()[:-9])
    paths = ["--model", tmp_path / "model", "--matrix", tmp_path / "m.h5ad"]
    assert main(["embed", *map(str, paths), "--output", str(tmp_path / "o.h5ad")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {peaks} cannot be read, or is damaged")
