import dataclasses
import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from epifoundation.data import csr_files, tokens
from epifoundation.data.multiome_rows import MultiomeRows
from epifoundation.data.store import ARRAYS, TokenStore, expression_levels
from epifoundation.data.tokens import write_store
from epifoundation.data.vocabulary import build_vocabulary
from epifoundation.errors import ContractError, DataError
from epifoundation.multiome import multiome, write_multiome
from epifoundation.simulate import simulate_multiome
from epifoundation.training.dataset import CellDataset

RNA = [[0, 7, 2], [1, 0, 0]]
ATAC = [[1, 0, 3, 0], [0, 0, 0, 2]]


def dataset(rna=RNA, atac=ATAC, ids=("E1", "E2", "E3"), names=("A", "B", "C")):
    cells = ["s1#c1", "s1#c2"]
    genes = pd.DataFrame({"gene_id": ids, "chrom": "chr2"}, index=names)
    peaks = pd.DataFrame(
        {"chrom": ["chr1"] * 2 + ["chr2"] * 2, "start": [9, 5, 1, 4], "end": [10, 8, 3, 6]},
        index=["p1", "p2", "p3", "p4"],
    )
    obs = pd.DataFrame(index=cells)
    said = pd.DataFrame(
        {
            "sample": "s1",
            "batch": "b",
            "tissue": "t",
            "donor": pd.Categorical(["d", None]),
            "cell_type": ["T", "B"],
        },
        index=cells,
    )
    return multiome(
        ad.AnnData(sparse.csr_matrix(np.array(rna)), obs=obs, var=genes),
        ad.AnnData(sparse.csr_matrix(np.array(atac)), obs=obs, var=peaks),
        said,
    )


def test_cells_become_tokens(tmp_path):
    vocabulary = build_vocabulary(dataset())
    write_store(dataset(), vocabulary, tmp_path / "store")
    store = TokenStore.open(tmp_path / "store", vocabulary=vocabulary)
    peaks, genes, counts = store.cell(0)
    assert (peaks.tolist(), genes.tolist(), counts.tolist()) == ([4, 6], [5, 6], [7, 2])
    peaks, genes, counts = store.cell(1)
    assert (peaks.tolist(), genes.tolist(), counts.tolist()) == ([7], [4], [1])
    assert np.diff(store.peak_indptr).tolist() == [2, 1]
    assert store.n_cell_genes.tolist() == [2, 1]
    assert (store.n_cells, store.n_peaks, store.n_genes) == (2, 4, 3)
    assert type(store.peak_tokens) is np.ndarray
    assert isinstance(store.peak_tokens.base, np.memmap)
    assert not store.peak_tokens.flags.writeable
    assert store.cells["cell"].tolist() == ["s1#c1", "s1#c2"]
    assert store.cells["donor"].tolist() == ["d", ""]
    assert store.rows_of(pd.Series(["s1#c2"])).tolist() == [1]


def test_genes_match_by_id_whatever_their_order_and_names(tmp_path):
    vocabulary = build_vocabulary(dataset())
    other = dataset(ids=("E3", "E1", "E9"), names=("c", "a", "z"))
    write_store(other, vocabulary, tmp_path / "store")
    _, genes, counts = TokenStore.open(tmp_path / "store").cell(0)
    # E1 has 7 counts; E9 with 2 is unknown; E3 has none
    assert (genes.tolist(), counts.tolist()) == ([4], [7])


def test_genes_match_by_name_without_ids(tmp_path):
    vocabulary = build_vocabulary(dataset())
    write_store(dataset(ids=("", "", ""), names=("C", "A", "B")), vocabulary, tmp_path / "store")
    _, genes, counts = TokenStore.open(tmp_path / "store").cell(0)
    assert (genes.tolist(), counts.tolist()) == ([4, 5], [7, 2])


def test_no_shared_gene_is_an_error(tmp_path):
    vocabulary = build_vocabulary(dataset())
    with pytest.raises(DataError, match=r"none of 3 genes .*X1, X2, X3.*E1, E2, E3"):
        write_store(dataset(ids=("X1", "X2", "X3")), vocabulary, tmp_path / "store")
    assert not list(tmp_path.iterdir())


def test_cell_without_peaks_is_an_error(tmp_path):
    vocabulary = build_vocabulary(dataset())
    empty = dataset(atac=[[1, 0, 0, 0], [0, 0, 0, 0]])
    with pytest.raises(DataError, match=r"1 of 2 cells have no accessible peak \(first: s1#c2\)"):
        write_store(empty, vocabulary, tmp_path / "store")


def test_other_peaks_are_an_error(tmp_path):
    vocabulary = build_vocabulary(dataset())
    moved = dataset()
    moved["atac"].var["start"] = [9, 5, 2, 4]
    with pytest.raises(DataError, match="differ from row 3 on"):
        write_store(moved, vocabulary, tmp_path / "store")


def test_counts_beyond_the_store_are_an_error(tmp_path):
    big = dataset(rna=[[0, 70_000, 2], [1, 0, 0]])
    with pytest.raises(DataError, match=r"1 counts .* 65,535 \(gene B has 70,000 counts in s1#c1"):
        write_store(big, build_vocabulary(big), tmp_path / "store")
    assert not list(tmp_path.iterdir())
    largest = dataset(rna=[[0, 65_535, 2], [1, 0, 0]])
    write_store(largest, build_vocabulary(largest), tmp_path / "store")
    assert TokenStore.open(tmp_path / "store").gene_counts.max() == 65_535


def test_store_of_another_vocabulary_is_refused(tmp_path):
    vocabulary = build_vocabulary(dataset())
    write_store(dataset(), vocabulary, tmp_path / "store")
    other = dataclasses.replace(vocabulary, chromosomes=("chr2", "chr1"))
    with pytest.raises(ContractError, match=f"{vocabulary.hash}, not {other.hash}"):
        TokenStore.open(tmp_path / "store", vocabulary=other)


def replace_array(folder, name, change):
    np.save(folder / f"{name}.npy", change(np.load(folder / f"{name}.npy")))


def edit_meta(folder, **changes):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | changes))


def cut(path):
    path.write_bytes(path.read_bytes()[:-2])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: cut(f / "peak_tokens.npy"), "copied in part .*mmap length"),
        (lambda f: cut(f / "gene_counts.npy"), "copied in part .*mmap length"),
        (lambda f: cut(f / "cells.parquet"), "copied in part .*[Pp]arquet"),
        (lambda f: (f / "gene_indptr.npy").unlink(), "copied in part .*gene_indptr"),
        (lambda f: (f / "meta.json").write_text("{"), "copied in part"),
        (lambda f: (f / "meta.json").write_text("{}"), "copied in part .*schema_version"),
        (lambda f: edit_meta(f, schema_version=0), "schema version 0, this .* reads 1"),
        (lambda f: (f / "meta.json").write_text("[]"), "copied in part .*lacks n_cells, n_gene"),
        (lambda f: (f / "meta.json").write_text("3"), "copied in part"),
        (lambda f: replace_array(f, "gene_counts", lambda a: a * 0), "gene_counts.npy holds zeros"),
        (lambda f: edit_meta(f, n_cells=3), "2 cells, expected 3"),
        (lambda f: replace_array(f, "peak_tokens", lambda a: a[:1]), "peak_indptr does not fit 2"),
        (
            lambda f: replace_array(f, "peak_tokens", lambda a: a * 0),
            "peak_tokens.npy holds ids that",
        ),
        (
            lambda f: replace_array(f, "peak_tokens", lambda a: a + 99),
            "peak_tokens.npy holds ids that",
        ),
        (lambda f: replace_array(f, "gene_counts", lambda a: a[:1]), "1 gene_counts for 3 tokens"),
        (lambda f: replace_array(f, "gene_tokens", lambda a: a.astype(np.int64)), "is int64"),
        (lambda f: replace_array(f, "gene_indptr", lambda a: a[[0, 2, 1]]), "gene_indptr does not"),
    ],
)
def test_damaged_store_is_refused(tmp_path, damage, said):
    write_store(dataset(), build_vocabulary(dataset()), tmp_path / "store")
    TokenStore.open(tmp_path / "store")
    damage(tmp_path / "store")
    with pytest.raises(ContractError, match=said):
        TokenStore.open(tmp_path / "store")


def test_gene_tokens_take_two_bytes_where_they_fit(tmp_path, monkeypatch):
    vocabulary = build_vocabulary(dataset())
    write_store(dataset(), vocabulary, tmp_path / "small")
    monkeypatch.setattr(tokens, "MOST_GENE_TOKENS", 6)
    write_store(dataset(), vocabulary, tmp_path / "large")
    small, large = (TokenStore.open(tmp_path / name) for name in ("small", "large"))
    assert (small.gene_tokens.dtype, large.gene_tokens.dtype) == (np.uint16, np.int32)
    assert small.cell(0)[1].dtype == large.cell(0)[1].dtype == np.int32
    assert small.gene_tokens.tolist() == large.gene_tokens.tolist()
    assert (expression_levels(small, 3) != expression_levels(large, 3)).nnz == 0
    batches = [
        CellDataset(store, np.arange(2), 9, 0, 2).read(np.arange(2)) for store in (small, large)
    ]
    assert batches[0].genes.gene_ids.dtype == batches[1].genes.gene_ids.dtype == torch.int32
    assert torch.equal(batches[0].genes.gene_ids, batches[1].genes.gene_ids)


def test_a_hole_of_zeros_is_seen_on_opening(tmp_path):
    cells = simulate_multiome(0, 60, n_genes=150, n_peaks=300, n_fragments=150, n_umis=200)
    write_store(cells, build_vocabulary(cells), tmp_path / "store")
    path = tmp_path / "store" / "peak_tokens.npy"
    content = bytearray(path.read_bytes())
    middle, hole = len(content) // 2, len(content) // 100
    content[middle : middle + hole] = bytes(hole)
    path.write_bytes(content)
    with pytest.raises(ContractError, match=r"peak_tokens\.npy holds ids that are none of"):
        TokenStore.open(tmp_path / "store")


@pytest.mark.parametrize("name", [f"{name}.npy" for name in ARRAYS] + ["cells.parquet"])
def test_a_changed_byte_is_seen_where_every_byte_is_read(tmp_path, name):
    write_store(dataset(), build_vocabulary(dataset()), tmp_path / "store")
    assert len(TokenStore.open(tmp_path / "store", every_byte=True)) == 2
    path = tmp_path / "store" / name
    content = bytearray(path.read_bytes())
    place = content.index(b"s1") if name == "cells.parquet" else -1
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ContractError, match=r"store is damaged: .*[Cc]opy.* or rerun tokenize_c"):
        TokenStore.open(tmp_path / "store", every_byte=True)


def test_changed_files_are_named_and_stores_before_digests_are_read(tmp_path):
    write_store(dataset(), build_vocabulary(dataset()), tmp_path / "store")
    meta = json.loads((tmp_path / "store" / "meta.json").read_text())
    meta["digests"] |= {"gene_counts.npy": "other"}
    (tmp_path / "store" / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(ContractError, match=r"damaged: gene_counts\.npy is not what was written"):
        TokenStore.open(tmp_path / "store", every_byte=True)
    TokenStore.open(tmp_path / "store")
    del meta["digests"]
    (tmp_path / "store" / "meta.json").write_text(json.dumps(meta))
    assert len(TokenStore.open(tmp_path / "store", every_byte=True)) == 2


def test_unknown_cell_is_refused(tmp_path):
    write_store(dataset(), build_vocabulary(dataset()), tmp_path / "store")
    with pytest.raises(ContractError, match=r"1 of 2 cells .*s9#c1"):
        TokenStore.open(tmp_path / "store").rows_of(pd.Series(["s1#c1", "s9#c1"]))


def test_expression_levels_stand_where_the_tokens_do(tiny_atlas):
    levels = expression_levels(tiny_atlas.store, 10)
    assert levels.shape == (60, tiny_atlas.store.n_genes)
    assert (levels.indices + 4).tolist() == tiny_atlas.store.gene_tokens.tolist()
    assert levels.indptr.tolist() == tiny_atlas.store.gene_indptr.tolist()
    assert levels.data.min() >= 1
    assert levels.data.max() == 9
    some = expression_levels(tiny_atlas.store, 10, np.array([7, 3, 59]))
    assert (some != levels[[7, 3, 59]]).nnz == 0
    assert some.dtype == np.uint8


@pytest.mark.parametrize("entries", [1, 50, 2**22])
def test_store_of_a_file_read_in_blocks_is_the_same(tmp_path, monkeypatch, entries):
    rng = np.random.default_rng(0)
    cells = simulate_multiome(0, 30, n_genes=40, n_peaks=60, n_fragments=60, n_umis=100)
    write_multiome(cells, tmp_path / "cells.h5mu")
    vocabulary = build_vocabulary(cells)
    write_store(cells, vocabulary, tmp_path / "whole")
    monkeypatch.setattr(csr_files, "BLOCK_ENTRIES", entries)
    rows = MultiomeRows.open(tmp_path / "cells.h5mu")
    assert build_vocabulary(rows).hash == vocabulary.hash
    write_store(rows, vocabulary, tmp_path / "blocks")
    files = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "blocks").iterdir())
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "blocks" / name).read_bytes()
    store = TokenStore.open(tmp_path / "blocks")
    counts = cells["rna"].X.toarray()
    for i in rng.permutation(30):
        _, genes, values = store.cell(i)
        assert values.tolist() == counts[i, genes - 4].tolist() == counts[i][counts[i] > 0].tolist()
