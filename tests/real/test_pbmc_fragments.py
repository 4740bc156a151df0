"""Real blood cells: fragments recounted in the peaks of the matrix that came with them."""

import anndata as ad
import numpy as np
import pytest

from epifoundation.data.fragment_reader import read_fragments
from epifoundation.data.fragments import count_fragments_in_peaks
from epifoundation.data.imports import pair, read_atac, read_rna
from epifoundation.data.regions import RegionIndex

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:mudata"),
    pytest.mark.filterwarnings("ignore:.*written without encoding metadata"),
    pytest.mark.filterwarnings("ignore:The HDF5 file was not created by muon"),
]

WINDOW_BP = 5_000


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "data" / "pbmc_multiome_fragments"


@pytest.fixture(scope="module")
def shipped(folder):
    with pytest.warns(UserWarning, match="not created by muon"):
        return read_atac(folder / "test_rna_atac.h5mu")


@pytest.fixture(scope="module")
def recount(folder, shipped):
    path = folder / "test_rna_atac_fragments.tsv.gz"
    barcodes = shipped.obs_names.tolist()
    return count_fragments_in_peaks(path, shipped.var, barcodes, keep_absent=False).X.toarray()


@pytest.fixture(scope="module")
def cut_sites(folder, shipped):
    """Fragment ends per cell and peak, which is what 10x counts."""
    counts = np.zeros(shipped.shape, dtype=int)
    index = RegionIndex(shipped.var)
    path = folder / "test_rna_atac_fragments.tsv.gz"
    for chunk in read_fragments(path, shipped.obs_names.tolist()):
        for chromosome, part in chunk.of_known_barcodes().by_chromosome():
            for cut in (part.start, part.end - 1):
                fragment, peak = index.overlaps(chromosome, cut, cut + 1)
                np.add.at(counts, (part.barcode[fragment], peak), 1)
    return counts


@pytest.fixture(scope="module")
def within(folder, shipped):
    """Peaks that lie in a window of the file whole: 5 kb to either side of a gene's interval."""
    parts = ad.read_h5ad(folder / "test_rna.h5ad").var["interval"].astype(str)
    parts = parts.str.extract(r"^(?P<chrom>.+):(?P<start>\d+)-(?P<end>\d+)$")
    peaks = shipped.var
    inside = np.zeros(len(peaks), dtype=bool)
    for gene in parts.astype({"start": int, "end": int}).itertuples():
        on_chromosome = (peaks["chrom"] == gene.chrom).to_numpy()
        after_start = (peaks["start"] >= gene.start - WINDOW_BP).to_numpy()
        inside |= on_chromosome & after_start & (peaks["end"] <= gene.end + WINDOW_BP).to_numpy()
    return inside


def test_cut_sites_agree_with_the_shipped_matrix(shipped, cut_sites):
    values = shipped.X.toarray()
    assert (cut_sites == values).mean() >= 0.97
    assert (cut_sites > values).sum() < 10  # what lacks lies beyond the windows of the file


def test_cut_sites_that_lack_lie_beyond_the_windows_of_the_file(shipped, cut_sites, within):
    values = shipped.X.toarray()
    lacking = values - cut_sites
    assert within.sum() == 123
    assert np.abs(lacking[:, within]).sum() <= 4 < 20_000 < values[:, within].sum()
    assert lacking[:, ~within].min() == 0
    assert (lacking[:, ~within].sum(axis=0) > 0).all()


def test_accessible_peaks_agree_with_the_shipped_matrix(shipped, recount):
    assert ((recount > 0) == (shipped.X.toarray() > 0)).mean() >= 0.97


def test_a_fragment_counts_once_for_its_one_or_two_cut_sites(recount, cut_sites):
    assert (2 * recount >= cut_sites).all()
    spanning = (recount > 0) & (cut_sites == 0)
    assert 0 < spanning.sum() < 0.02 * recount.size


def test_rna_and_fragments_hold_the_same_cells(folder, shipped):
    rna, atac = pair(read_rna(folder / "test_rna.h5ad", None), shipped, where="pbmc")
    assert rna.shape == (1000, 45)
    assert rna.var.loc["CD2", "chrom"] == "chr1"
    assert atac.obs_names.equals(rna.obs_names)


@pytest.mark.parametrize(
    ("rna", "atac", "shape"),
    [
        ("pbmc_multiome_100/10xpbmc_rna_subset", "pbmc_multiome_100/10xpbmc_atac_subset", 100),
        ("pbmc_multiome_40/scrna", "pbmc_multiome_40/scatac", 40),
        ("bmmc_neurips2021/B_abffffe.rna", "bmmc_neurips2021/B_abffffe.atac", 500),
        ("bmmc_neurips2021/D_e056d38.rna", "bmmc_neurips2021/D_e056d38.atac", 500),
    ],
)
def test_real_pairs_are_read(shared, rna, atac, shape):
    data = shared / "data"
    parts = pair(read_rna(data / f"{rna}.h5ad", None), read_atac(data / f"{atac}.h5ad"), where=rna)
    for part in parts:
        assert part.n_obs == shape
        assert part.X.dtype == np.int32
        assert part.X.data.min() > 0
