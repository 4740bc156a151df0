import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.contracts import AGREEMENT, CONFUSION
from epifoundation.data.label_agreement import compare_sources, given_types, sources_of
from epifoundation.errors import DataError
from epifoundation.multiome import multiome, write_multiome

CELLS = [f"s#{i}" for i in range(6)]


def labels(*types, cells=CELLS):
    return pd.DataFrame({"barcode": cells, "cell_type": types})


@pytest.fixture
def types():
    given = [
        pd.Series(["B cell", "b cell", "NK", "NK", "", ""], index=CELLS),
        pd.Series(["", ""], index=["t#0", "t#1"]),
    ]
    others = labels("T cell", "NK cell", cells=["t#0", "t#1"])
    wnn = labels("B cell", "B cell", "NK cell", "B cell", "unassigned", "NK cell")
    rna = labels("B cell", "NK cell", "NK cell", "B cell", "B cell", "unassigned")
    tables = {"disco_wnn": pd.concat([wnn, others]), "disco_rna": pd.concat([rna, others])}
    return sources_of(given, ["ALLTissue", "Liver"], tables, atlases=["blood", "liver_cell"])


def test_agreement_by_hand(types):
    agreement, confusion = compare_sources(types)
    AGREEMENT.check(agreement, "agreement")
    CONFUSION.check(confusion, "confusion")
    by_pair = agreement.set_index(["dataset", "one", "other"])
    assert by_pair["n_cells"].to_dict() == {
        ("ALLTissue", "given", "disco_wnn"): 4,
        ("ALLTissue", "given", "disco_rna"): 4,
        ("ALLTissue", "disco_wnn", "disco_rna"): 4,
        ("Liver", "disco_wnn", "disco_rna"): 2,
    }
    # NK is the NK cell of DISCO, case is ignored: three of four are the same
    assert by_pair.loc[("ALLTissue", "given", "disco_wnn"), "agreement"] == 0.75
    assert by_pair.loc[("ALLTissue", "given", "disco_rna"), "agreement"] == 0.5
    assert by_pair.loc[("Liver", "disco_wnn", "disco_rna"), ["ari", "nmi", "agreement"]].eq(1).all()
    rows = confusion.query("one == 'given' and other == 'disco_wnn'")
    assert rows[["type_one", "type_other", "n_cells", "share"]].to_numpy().tolist() == [
        ["B cell", "B cell", 2, 1.0],
        ["natural killer cell", "B cell", 1, 0.5],
        ["natural killer cell", "natural killer cell", 1, 0.5],
    ]


def test_labels_without_a_common_cell_have_no_agreement_and_one_source_no_row(types):
    apart = types.assign(disco_rna=["", "", "", "", "B cell", ""] + ["", ""], given="")
    agreement, confusion = compare_sources(apart)
    AGREEMENT.check(agreement, "agreement")
    assert agreement["n_cells"].tolist() == [0]
    assert agreement["ari"].isna().all()
    assert confusion.empty
    agreement, confusion = compare_sources(apart.assign(disco_rna=""))
    AGREEMENT.check(agreement, "agreement")
    CONFUSION.check(confusion, "confusion")
    assert agreement.empty


def test_names_mean_what_the_atlas_of_their_sample_means():
    given = [pd.Series("", index=["p"]), pd.Series("", index=["s"])]
    tables = {"disco_wnn": labels("Delta cell", "Delta cell", cells=["p", "s"])}
    found = sources_of(given, ["a", "a"], tables, atlases=["pancreas_cell", "stomach"])
    assert found["disco_wnn"].tolist() == ["pancreatic D cell", "type D cell of stomach"]


def test_labels_of_other_cells_are_an_error_and_of_some_a_warning(caplog):
    given = [pd.Series("", index=CELLS)]
    other = labels("B", "T", cells=["t#0", "t#1"])
    message = r"disco_rna .*no cell in common: 2 barcodes \(e.g. t#0\) and 6 \(e.g. s#0\)"
    with pytest.raises(DataError, match=message):
        sources_of(given, ["a"], {"disco_rna": other}, atlases=[None])
    some = labels("B", "T", "T", cells=["s#0", "s#1", "t#0"])
    sources_of(given, ["a"], {"disco_rna": some}, atlases=[None])
    assert "disco_rna: 2 barcodes of 3 and 6 are common" in caplog.text


@pytest.mark.parametrize("labelled", [True, False])
def test_given_types_are_read_from_the_file_of_cells(tmp_path, labelled):
    obs = pd.DataFrame(index=CELLS)
    peaks = pd.DataFrame({"chrom": ["chr1"], "start": [0], "end": [5]}, index=["p"])
    ones = sparse.csr_matrix(np.ones((6, 1), np.int32))
    of_cells = obs.assign(cell_type=pd.Categorical(["B", "B", None, "T", "T", "T"]))
    cells = multiome(
        ad.AnnData(ones, obs=obs, var=pd.DataFrame(index=["G"])),
        ad.AnnData(ones, obs=obs, var=peaks),
        of_cells if labelled else obs.assign(tissue="liver"),
    )
    write_multiome(cells, tmp_path / "cells.h5mu")
    found = given_types(tmp_path / "cells.h5mu")
    assert found.to_dict() == dict(
        zip(CELLS, ["B", "B", "", "T", "T", "T"] if labelled else [""] * 6, strict=True)
    )
