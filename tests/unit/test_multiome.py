"""Paired cells as h5mu: what is refused, and why."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.errors import ContractError
from epifoundation.multiome import multiome, read_multiome, write_multiome


@pytest.fixture
def cells():
    def part(kind, values, var):
        return ad.AnnData(
            sparse.csr_matrix(np.array(values, dtype=np.int32)),
            obs=pd.DataFrame(index=["a", "b"]),
            var=pd.DataFrame(var, index=[f"{kind}{i}" for i in range(len(values[0]))]),
        )

    rna = part("g", [[1, 2], [0, 3]], {"gene_id": ["E1", "E2"]})
    atac = part("p", [[1], [2]], {"chrom": ["chr1"], "start": [1], "end": [5]})
    return multiome(rna, atac)


def test_a_round_trip_keeps_the_counts(cells, tmp_path):
    write_multiome(cells, tmp_path / "cells.h5mu")
    again = read_multiome(tmp_path / "cells.h5mu")
    assert again["rna"].X.toarray().tolist() == [[1, 2], [0, 3]]
    assert again.obs_names.tolist() == ["a", "b"]


def test_other_files_are_named_for_what_they_are(cells, tmp_path):
    path = tmp_path / "cells.h5mu"

    def refused():
        with pytest.raises(ContractError) as error:
            read_multiome(path)
        message = str(error.value)
        assert message.startswith(str(path))
        assert "\n" not in message
        return message

    assert "does not exist" in refused()
    path.write_text("barcode\tcluster\n")
    assert r"is not an HDF5 file" in refused()
    cells["rna"].write_h5ad(path)
    assert "is an h5ad, which holds one modality" in refused()
    with h5py.File(path, "w") as file:
        file["matrix"] = 1
    assert "is HDF5 of another kind (it holds matrix)" in refused()
    write_multiome(cells, path)
    path.write_bytes(path.read_bytes()[:-3000])
    assert "is damaged or cut off" in refused()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["rna"].X.data.__imul__(-1), "rna counts hold negative numbers (first: -3)"),
        (
            lambda c: setattr(c["rna"], "X", c["rna"].X * np.inf),
            "3 rna counts are NaN or infinite",
        ),
        (lambda c: c["atac"].var.pop("end"), "atac var lacks end"),
        (lambda c: c.mod.update(rna=c["rna"][:, []].copy()), "rna holds 2 cells × 0 genes"),
        (
            lambda c: c.mod.update(rna=c["rna"][::-1].copy()),
            "they are the same in another order",
        ),
    ],
)
def test_a_breach_is_one_line_and_nothing_is_written(cells, tmp_path, change, message):
    change(cells)
    with pytest.raises(ContractError) as error:
        write_multiome(cells, tmp_path / "cells.h5mu")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
