import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.data.vocabulary import N_SPECIAL, Vocabulary, build_vocabulary
from epifoundation.errors import ContractError, DataError
from epifoundation.multiome import multiome


def atlas(peak_starts=(100, 50, 10), gene_names=("B", "A")):
    cells = ["s1#c1", "s2#c1", "s1#c2"]
    genes = pd.DataFrame(
        {"gene_id": [f"ENSG{n}" for n in gene_names], "chrom": ["chr2", "chrM"]}, index=gene_names
    )
    peaks = pd.DataFrame(
        {
            "chrom": ["chr1", "chr1", "chr2"],
            "start": peak_starts,
            "end": [s + 5 for s in peak_starts],
        },
        index=["p1", "p2", "p3"],
    )
    obs = pd.DataFrame(index=cells)
    rna = ad.AnnData(sparse.csr_matrix(np.ones((3, 2), np.int32)), obs=obs, var=genes)
    atac = ad.AnnData(sparse.csr_matrix(np.ones((3, 3), np.int32)), obs=obs, var=peaks)
    return multiome(rna, atac, pd.DataFrame({"batch": ["b2", "b1", "b2"]}, index=cells))


def test_ids_follow_the_order_of_the_atlas():
    vocabulary = build_vocabulary(atlas())
    assert vocabulary.peaks["start"].tolist() == [100, 50, 10]  # never re-sorted
    assert vocabulary.genes["gene_name"].tolist() == ["B", "A"]
    assert vocabulary.chromosomes == ("chr1", "chr2", "chrM")
    assert vocabulary.batches == ("b2", "b1")
    assert vocabulary.peak_chromosomes().tolist() == [0, 1, 2, 3, 4, 4, 5]
    assert vocabulary.gene_chromosomes().tolist() == [0, 1, 2, 3, 5, 6]
    assert vocabulary.peak_chromosomes().dtype == np.int32
    assert len(vocabulary.peak_chromosomes()) == vocabulary.n_peaks + N_SPECIAL


def test_written_and_read_again_it_is_the_same(tmp_path):
    vocabulary = build_vocabulary(atlas())
    vocabulary.write(tmp_path / "vocabulary")
    again = Vocabulary.read(tmp_path / "vocabulary")
    assert again.hash == vocabulary.hash
    pd.testing.assert_frame_equal(again.peaks, vocabulary.peaks)
    pd.testing.assert_frame_equal(again.genes, vocabulary.genes)
    first = (tmp_path / "vocabulary" / "peaks.bed.gz").read_bytes()
    again.write(tmp_path / "vocabulary")
    assert (tmp_path / "vocabulary" / "peaks.bed.gz").read_bytes() == first


def test_hash_depends_on_the_order_of_peaks():
    one, other = build_vocabulary(atlas()), build_vocabulary(atlas(peak_starts=(50, 100, 10)))
    assert one.hash != other.hash


def test_edited_file_is_refused(tmp_path):
    build_vocabulary(atlas()).write(tmp_path / "vocabulary")
    (tmp_path / "vocabulary" / "chromosomes.txt").write_text("chr1\nchr2\nchrX\n")
    with pytest.raises(ContractError, match="was edited"):
        Vocabulary.read(tmp_path / "vocabulary")


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(ContractError, match="is no vocabulary"):
        Vocabulary.read(tmp_path / "nowhere")


def test_repeated_peak_is_refused():
    with pytest.raises(DataError, match=r"1 of 3 peaks repeat \(first: chr1 50 55\)"):
        build_vocabulary(atlas(peak_starts=(50, 50, 10)))


def test_summary_counts(tmp_path):
    build_vocabulary(atlas()).write(tmp_path / "v")
    summary = json.loads((tmp_path / "v" / "vocabulary.json").read_text())
    assert (summary["n_peaks"], summary["n_genes"], summary["n_batches"]) == (3, 2, 2)
