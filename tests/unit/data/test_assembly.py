import shutil

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import epifoundation
from epifoundation.contracts import LABELS
from epifoundation.data import csr_files
from epifoundation.data.assembly import write_atlas
from epifoundation.data.expression import log_normalize
from epifoundation.data.multiome_rows import MultiomeRows
from epifoundation.errors import ContractError, DataError, DiskFullError
from epifoundation.files import file_hash
from epifoundation.multiome import multiome, read_multiome, write_multiome


def sample(name, genes=("A", "B", "C"), starts=(5, 1), cell_types=("T", "B"), **obs):
    cells = [f"{name}#c{i}" for i in range(2)]
    index = pd.DataFrame(index=cells)
    counts = np.arange(1, 1 + 2 * len(genes)).reshape(2, -1)
    var = pd.DataFrame({"gene_id": [f"E{g}" for g in genes], "chrom": "chr1"}, index=list(genes))
    peaks = pd.DataFrame({"chrom": "chr1", "start": starts, "end": [s + 3 for s in starts]})
    said = {"sample": name, "batch": name, "tissue": "t", "donor": "", "barcode": ["c0", "c1"]}
    said |= {"cell_type": list(cell_types)} | obs
    return multiome(
        ad.AnnData(sparse.csr_matrix(counts), obs=index, var=var),
        ad.AnnData(
            sparse.csr_matrix(np.array([[2, 0], [1, 5]])), obs=index, var=peaks.set_axis(["x", "y"])
        ),
        pd.DataFrame(said, index=cells),
    )


def labels(name, cell_type="T", **columns):
    table = {
        "barcode": [f"{name}#c1", f"{name}#c0"],
        "cluster": ["1", "0"],
        "cell_type": [cell_type, "mono"],
        "cell_ontology_id": ["CL:0000084", ""],
        "score": [0.9, 0.8],
        "margin": [0.1, np.nan],
        "runner_up": ["B", ""],
    }
    return pd.DataFrame(table | columns)


def assembled(folder, samples, tables=(), *, source="given"):
    """Write samples and label tables, assemble them, return the multiome read back."""
    cells = [folder / f"cells{i}.h5mu" for i in range(len(samples))]
    for part, path in zip(samples, cells, strict=True):
        write_multiome(part, path)
    paths = [folder / f"labels{i}.tsv" for i in range(len(tables))]
    for table, path in zip(tables, paths, strict=True):
        LABELS.write(table, path)
    output = folder / "atlas.h5mu"
    write_atlas(cells, paths, output, label_source=source, config_hash="abc")
    return read_multiome(output)


def random_sample(name, genes, rng, n_cells=70, n_peaks=50):
    cells = pd.DataFrame(index=[f"{name}#c{i}" for i in range(n_cells)])
    rna = rng.poisson(0.5, size=(n_cells, len(genes)))
    atac = rng.poisson(0.2, size=(n_cells, n_peaks))
    rna[3], atac[4] = 0, 0
    starts = np.arange(n_peaks) * 10
    var = pd.DataFrame({"gene_id": [f"E{g}" for g in genes], "chrom": "chr1"}, index=genes)
    peaks = pd.DataFrame({"chrom": "chr1", "start": starts, "end": starts + 5})
    said = {"sample": name, "batch": "b", "tissue": "t", "donor": "", "cell_type": "T"}
    return multiome(
        ad.AnnData(sparse.csr_matrix(rna), obs=cells, var=var),
        ad.AnnData(sparse.csr_matrix(atac), obs=cells, var=peaks.set_axis(starts.astype(str))),
        cells.assign(**said),
    )


def test_samples_are_joined_with_their_labels(tmp_path):
    joined = assembled(
        tmp_path,
        [sample("s2", n_fragments=[4, 5]), sample("s1")],
        [labels("s2"), labels("s1", "NK")],
        source="disco_wnn",
    )
    assert joined.obs_names.tolist() == ["s2#c0", "s2#c1", "s1#c0", "s1#c1"]
    assert joined.obs["cell_type"].tolist() == ["mono", "T", "mono", "NK"]
    assert joined.obs["cell_ontology_id"].tolist() == ["", "CL:0000084"] * 2
    assert joined.obs["label_score"].tolist() == [0.8, 0.9] * 2
    assert joined.obs["cluster"].tolist() == ["0", "1", "0", "1"]
    assert joined.obs["n_fragments"].tolist()[:2] == [4, 5]
    atac, rna = joined["atac"], joined["rna"]
    assert atac.X.toarray().tolist() == [[1, 0], [1, 1]] * 2
    assert atac.layers["counts"].toarray().tolist() == [[2, 0], [1, 5]] * 2
    assert rna.layers["counts"].dtype == np.int32
    np.testing.assert_allclose(rna.X.toarray()[0], np.log1p(np.array([1, 2, 3]) / 6 * 1e4), 1e-6)
    assert rna.X.dtype == np.float32


def test_atlas_says_what_it_was_made_from(tmp_path):
    made = assembled(tmp_path, [sample("s2")], [labels("s2")], source="disco_rna").uns
    assert (made["schema_version"], made["config_hash"]) == (1, "abc")
    assert (made["label_source"], made["package_version"]) == (
        "disco_rna",
        epifoundation.__version__,
    )
    assert made["inputs"].to_dict("index") == {
        "s2": {
            "n_cells": 2,
            "cells_sha256": file_hash(tmp_path / "cells0.h5mu"),
            "labels_sha256": file_hash(tmp_path / "labels0.tsv"),
        }
    }


@pytest.mark.parametrize("entries", [1, 100, 2**22])
def test_streamed_atlas_equals_one_joined_in_memory(tmp_path, monkeypatch, entries):
    monkeypatch.setattr(csr_files, "BLOCK_ENTRIES", entries)
    rng = np.random.default_rng(0)
    genes = [["A", "B", "C", "D", "E"], ["E", "X", "C", "A", "D"]]
    samples = [random_sample(f"s{i}", names, rng) for i, names in enumerate(genes)]
    joined = assembled(tmp_path, samples)
    shared = ["A", "C", "D", "E"]
    rna = sparse.vstack([s["rna"][:, shared].X for s in samples], format="csr")
    atac = sparse.vstack([s["atac"].X for s in samples], format="csr")
    for part, counts, values in (
        (joined["rna"], rna, log_normalize(rna).astype(np.float32)),
        (joined["atac"], atac, (atac > 0).astype(np.float32)),
    ):
        assert (part.layers["counts"] != counts).nnz == 0
        assert np.array_equal(part.X.toarray(), values.toarray())
        assert part.X.has_sorted_indices
        assert part.shape == counts.shape
    assert joined["rna"].var_names.tolist() == shared


def test_matrices_of_one_modality_share_their_indices(tmp_path):
    assembled(tmp_path, [sample("s1")])
    with h5py.File(tmp_path / "atlas.h5mu") as file:
        part = file["mod/atac"]
        assert part["X/indices"] == part["layers/counts/indices"]
        assert part["X/data"] != part["layers/counts/data"]


def test_genes_that_every_sample_has_are_kept(tmp_path):
    joined = assembled(tmp_path, [sample("s1"), sample("s2", genes=("C", "X", "A"))])
    assert joined["rna"].var_names.tolist() == ["A", "C"]
    assert joined["rna"].layers["counts"].toarray().tolist() == [[1, 3], [4, 6], [3, 1], [6, 4]]


def test_no_common_gene_is_an_error(tmp_path):
    with pytest.raises(DataError, match="samples s1, s2 share no gene name"):
        assembled(tmp_path, [sample("s1"), sample("s2", genes=("X", "Y"))])


def test_other_peaks_are_an_error(tmp_path):
    said = r"s1 and s2 have different peaks \(2 and 2; 1 of the second .* e.g. chr1 2 5\)"
    with pytest.raises(DataError, match=said):
        assembled(tmp_path, [sample("s1"), sample("s2", starts=(5, 2))])


def test_peaks_in_another_order_are_put_in_the_first_samples(tmp_path):
    joined = assembled(tmp_path, [sample("s1"), sample("s2", starts=(1, 5))])
    assert joined["atac"].var["start"].tolist() == [5, 1]
    assert joined["atac"].layers["counts"].toarray().tolist() == [[2, 0], [1, 5], [0, 2], [5, 1]]


def test_given_labels_must_be_complete(tmp_path):
    with pytest.raises(DataError, match=r"1 of 2 cells have no given cell_type \(first: s1#c1"):
        assembled(tmp_path, [sample("s1", cell_types=("T", ""))])
    unlabelled = sample("s1")
    unlabelled.obs = unlabelled.obs.drop(columns="cell_type")
    with pytest.raises(DataError, match=r"no sample has obs\['cell_type'\]"):
        assembled(tmp_path, [unlabelled])


def test_given_types_get_their_ontology_id(tmp_path):
    joined = assembled(tmp_path, [sample("s1", cell_types=("CD14 Mono", "nobody knows"))])
    assert joined.obs["cell_ontology_id"].tolist() == ["CL:0001054", ""]


def test_given_types_are_meant_as_in_the_atlas_of_their_tissue(tmp_path):
    samples = [
        sample(name, cell_types=("Delta cell", "B cell"), tissue=name)
        for name in ("pancreas", "stomach")
    ]
    ids = assembled(tmp_path, samples).obs["cell_ontology_id"]
    assert ids.tolist() == ["CL:0000173", "CL:0000236", "CL:0002267", "CL:0000236"]


def test_without_labels_all_cells_are_unlabelled(tmp_path):
    joined = assembled(tmp_path, [sample("s1")], source="none")
    assert set(joined.obs["cell_type"]) == {"unlabelled"}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (labels("s9"), r"sample s1: 2 of 2 cells have no label \(first: s1#c0\)"),
        (labels("s1").iloc[:1], r"sample s1: 1 of 2 cells have no label \(first: s1#c0\)"),
        (
            pd.concat([labels("s1"), labels("s9")]),
            r"sample s1: 2 of 4 labels are of no cell \(first: s9#c1\)",
        ),
    ],
    ids=["of another sample", "too few", "too many"],
)
def test_wrong_label_table_is_an_error(tmp_path, table, said):
    with pytest.raises(DataError, match=said):
        assembled(tmp_path, [sample("s1")], [table], source="disco_wnn")


def test_cell_in_two_samples_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"2 cells are in two samples \(first: s1#c0\)"):
        assembled(tmp_path, [sample("s1"), sample("s1")])


def test_nothing_is_left_where_a_later_sample_cannot_be_read(tmp_path):
    assembled(tmp_path, [sample("s1"), sample("s2")])
    before = (tmp_path / "atlas.h5mu").read_bytes()
    damaged = tmp_path / "cells1.h5mu"
    with h5py.File(damaged, "r+") as file:
        del file["mod/atac/X/indices"]
    paths = [tmp_path / "cells0.h5mu", damaged]
    with pytest.raises(ContractError, match=r"cells1.h5mu cannot be read as h5mu .*indices"):
        write_atlas(paths, [], tmp_path / "atlas.h5mu", label_source="given", config_hash="")
    assert (tmp_path / "atlas.h5mu").read_bytes() == before
    assert not list(tmp_path.glob(".partial*"))


def test_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(csr_files, "ROOM_BYTES", 2**60)
    with pytest.raises(DiskFullError, match="the disk is full"):
        assembled(tmp_path, [sample("s1")])
    assert [path.name for path in tmp_path.iterdir()] == ["cells0.h5mu"]


def test_file_cut_short_is_an_error(tmp_path):
    assembled(tmp_path, [sample("s1")])
    whole = (tmp_path / "atlas.h5mu").read_bytes()
    (tmp_path / "half.h5mu").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ContractError, match=r"half.h5mu cannot be read as h5mu .*truncated"):
        MultiomeRows.open(tmp_path / "half.h5mu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file["uns/schema_version"].write_direct(np.array(0)), "schema version 0"),
        (lambda file: file["mod/rna/obs/_index"].write_direct(np.array([b"x", b"y"], "O")), "same"),
        (lambda file: file["obs"].move("batch", "hatch"), "obs lacks batch"),
        (lambda file: file["mod/atac/var"].move("end", "stop"), "atac var lacks end"),
    ],
    ids=["schema", "cells", "obs", "var"],
)
@pytest.mark.filterwarnings("ignore:.*is not in column-order")
def test_unusable_multiome_is_refused(tmp_path, change, said):
    assembled(tmp_path, [sample("s1")])
    shutil.copy(tmp_path / "atlas.h5mu", tmp_path / "changed.h5mu")
    with h5py.File(tmp_path / "changed.h5mu", "r+") as file:
        change(file)
        order = list(file["obs"].attrs["column-order"])
        file["obs"].attrs["column-order"] = [name for name in order if name in file["obs"]]
    with pytest.raises(ContractError, match=said):
        MultiomeRows.open(tmp_path / "changed.h5mu", needs_obs=("batch",))


def test_fractions_are_no_counts(tmp_path):
    write_multiome(sample("s1"), tmp_path / "cells.h5mu")
    with h5py.File(tmp_path / "cells.h5mu", "r+") as file:
        values = file["mod/rna/X/data"][:] + 0.5
        del file["mod/rna/X/data"]
        file["mod/rna/X/data"] = values
    with pytest.raises(ContractError, match="rna counts hold fractions"):
        list(MultiomeRows.open(tmp_path / "cells.h5mu").blocks("rna"))


def test_matrix_stored_by_columns_is_read(tmp_path):
    by_column = sample("s1")
    expected = by_column["rna"].X.toarray()
    by_column["rna"].X = by_column["rna"].X.tocsc()
    write_multiome(by_column, tmp_path / "cells.h5mu")
    (block,) = MultiomeRows.open(tmp_path / "cells.h5mu").blocks("rna")
    assert block.toarray().tolist() == expected.tolist()
