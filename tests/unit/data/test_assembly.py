import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import epifoundation
from epifoundation.data.assembly import assemble
from epifoundation.errors import DataError
from epifoundation.multiome import multiome, read_multiome, write_multiome


def sample(name, genes=("A", "B", "C"), starts=(5, 1), cell_types=("T", "B"), **obs):
    cells = [f"{name}#c{i}" for i in range(2)]
    index = pd.DataFrame(index=cells)
    counts = np.arange(1, 1 + 2 * len(genes)).reshape(2, -1)
    var = pd.DataFrame({"gene_id": [f"E{g}" for g in genes], "chrom": "chr1"}, index=list(genes))
    peaks = pd.DataFrame({"chrom": "chr1", "start": starts, "end": [s + 3 for s in starts]})
    said = {"sample": name, "batch": name, "tissue": "t", "donor": None, "barcode": ["c0", "c1"]}
    said |= {"cell_type": list(cell_types)} | obs
    return multiome(
        ad.AnnData(sparse.csr_matrix(counts), obs=index, var=var),
        ad.AnnData(
            sparse.csr_matrix(np.array([[2, 0], [1, 5]])), obs=index, var=peaks.set_axis(["x", "y"])
        ),
        pd.DataFrame(said, index=cells),
    )


def labels(name, cell_type="T"):
    return pd.DataFrame(
        {
            "barcode": [f"{name}#c1", f"{name}#c0"],
            "cluster": ["1", "0"],
            "cell_type": [cell_type, "mono"],
            "score": [0.9, 0.8],
            "margin": [0.1, np.nan],
            "runner_up": ["B", ""],
        }
    )


def test_samples_are_joined_with_their_labels(tmp_path):
    joined = assemble(
        [sample("s2", n_fragments=[4, 5]), sample("s1")],
        [labels("s2"), labels("s1", "NK")],
        label_source="disco_wnn",
    )
    write_multiome(joined, tmp_path / "atlas.h5mu")
    joined = read_multiome(tmp_path / "atlas.h5mu", needs_obs=("cell_type", "label_score"))
    assert joined.obs_names.tolist() == ["s2#c0", "s2#c1", "s1#c0", "s1#c1"]
    assert joined.obs["cell_type"].tolist() == ["mono", "T", "mono", "NK"]
    assert joined.obs["cluster"].tolist() == ["0", "1", "0", "1"]
    assert joined.obs["n_fragments"].tolist()[:2] == [4, 5]
    assert joined.uns["label_source"] == "disco_wnn"
    assert joined.uns["package_version"] == epifoundation.__version__
    atac, rna = joined["atac"], joined["rna"]
    assert atac.X.toarray().tolist() == [[1, 0], [1, 1]] * 2
    assert atac.layers["counts"].toarray().tolist() == [[2, 0], [1, 5]] * 2
    assert rna.layers["counts"].dtype == np.int32
    np.testing.assert_allclose(rna.X.toarray()[0], np.log1p(np.array([1, 2, 3]) / 6 * 1e4), 1e-6)
    assert rna.X.dtype == np.float32


def test_genes_that_every_sample_has_are_kept():
    joined = assemble(
        [sample("s1"), sample("s2", genes=("C", "X", "A"))], [], label_source="published"
    )
    assert joined["rna"].var_names.tolist() == ["A", "C"]
    assert joined["rna"].layers["counts"].toarray().tolist() == [[1, 3], [4, 6], [3, 1], [6, 4]]


def test_no_common_gene_is_an_error():
    with pytest.raises(DataError, match="samples s1, s2 share no gene name"):
        assemble([sample("s1"), sample("s2", genes=("X", "Y"))], [], label_source="published")


def test_other_peaks_are_an_error():
    with pytest.raises(DataError, match="samples s1 and s2 have different peaks"):
        assemble([sample("s1"), sample("s2", starts=(5, 2))], [], label_source="published")


def test_published_labels_must_be_complete():
    with pytest.raises(DataError, match=r"1 of 2 cells have no published cell_type \(first: s1#c1"):
        assemble([sample("s1", cell_types=("T", None))], [], label_source="published")
    unlabelled = sample("s1")
    unlabelled.obs = unlabelled.obs.drop(columns="cell_type")
    with pytest.raises(DataError, match=r"no sample has obs\['cell_type'\]"):
        assemble([unlabelled], [], label_source="published")


def test_without_labels_all_cells_are_unlabelled():
    joined = assemble([sample("s1")], [], label_source="none")
    assert set(joined.obs["cell_type"]) == {"unlabelled"}


def test_cell_without_label_is_an_error():
    with pytest.raises(DataError, match=r"2 of 2 cells have no label \(first: s1#c0\)"):
        assemble([sample("s1")], [labels("s9")], label_source="disco_wnn")


def test_cell_in_two_samples_is_an_error():
    with pytest.raises(DataError, match="2 cells are in two samples"):
        assemble([sample("s1"), sample("s1")], [], label_source="published")
