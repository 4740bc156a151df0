"""The benchmarks of the data half still run: their code, on sizes of seconds."""

import json
import shutil

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def checkout(monkeypatch, root):
    """They are run from the checkout."""
    monkeypatch.syspath_prepend(str(root))


def shrink(monkeypatch, module, **sizes):
    for name, size in sizes.items():
        assert hasattr(module, name)
        monkeypatch.setattr(module, name, size)


@pytest.mark.skipif(shutil.which("bgzip") is None, reason="bgzip is not on PATH")
def test_both_ways_of_counting_find_the_same(monkeypatch, tmp_path):
    from benchmarks import counting

    shrink(monkeypatch, counting, N_CELLS=40, N_PEAKS=300, N_AMBIENT=40)
    fragments = counting.simulate(tmp_path, 6_000)
    assert counting.count(tmp_path, fragments) > 1_000
    assert counting.count_with_qc(tmp_path, fragments) == counting.count(tmp_path, fragments)


def test_every_step_of_assembly_writes(monkeypatch, tmp_path):
    from benchmarks import assembly

    sizes = {"N_PEAKS": 1_000, "N_GENES": 300, "OPEN_PEAKS": 40, "EXPRESSED_GENES": 30}
    shrink(monkeypatch, assembly, **sizes)
    samples = [tmp_path / f"s{i}.h5mu" for i in range(2)]
    for seed, path in enumerate(samples):
        assembly.make_sample(path, seed, 40)
    for step in assembly.STEPS.values():
        assert step(samples, tmp_path).exists()
    assert assembly.size_mb(tmp_path) > 0 < assembly.peak_memory_mb()


def test_the_released_layout_goes_all_the_way(monkeypatch, tmp_path):
    from benchmarks import released

    from epifoundation.data.store import TokenStore

    sizes = {"N_PEAKS": 1_000, "N_GENES": 300, "OPEN_PEAKS": 40, "EXPRESSED_GENES": 60}
    shrink(monkeypatch, released, **sizes)
    for name in released.SETS:
        released.make_files(tmp_path, name, 10)
    for step in released.STEPS.values():
        assert step(tmp_path).exists()
    cells = TokenStore.open(tmp_path / "full_atlas.store").cells
    assert len(cells) == 200
    assert cells["batch"].nunique() == 20
    assert set(cells["cell_type"]) == {"B cell", "T cell", "Monocyte", "NK cell"}


@pytest.mark.skipif(
    not all(map(shutil.which, ("STAR", "bwa", "bgzip", "tabix"))), reason="needs STAR, bwa, htslib"
)
def test_the_open_engine_is_exact_with_the_whole_lists(monkeypatch, tmp_path):
    from benchmarks import align

    sizes = {"SIZES": {"chr1": 60_000, "chr2": 40_000, "chrM": 5_000}, "N_GENES": 10}
    sizes |= {"N_CELLS": 60, "N_EMPTY": 400, "N_FRAGMENTS": 300, "N_UMIS": 300}
    shrink(monkeypatch, align, **sizes, STAR_INDEX_BASES=6)
    align.make_reference(tmp_path)
    align.make_reads(tmp_path)
    found = {name: align.measure(name, tmp_path) for name in align.STEPS}
    assert found["atac"]["planted_found"] >= 0.999 <= found["atac"]["found_planted"]
    assert found["gex_and_cells"]["counts_exact"] >= 0.99  # ten genes: many reads of each count
    genes = found["gex_and_cells"]
    assert abs(genes["umis_found"] / genes["umis_planted"] - 1) < 0.001
    assert (genes["cells_found"], genes["cells_wrong"]) == (60, 0)
    assert align.rates(found)["barcode_step_to_bwa"] > 0


def test_peaks_are_called_on_what_is_made(monkeypatch, tmp_path, capsys):
    from benchmarks import peak_calling

    shrink(monkeypatch, peak_calling, N_FILES=2, N_FRAGMENTS=2_000, N_PEAKS=20, N_BARCODES=9)
    monkeypatch.setattr(peak_calling, "CHROMOSOMES", {"chr1": 900_000, "chr2": 500_000})
    peak_calling.main("make", tmp_path)
    peak_calling.main("pool", tmp_path)
    peak_calling.main("child", tmp_path, "2")
    called = json.loads(capsys.readouterr().out)
    assert called["n_fragments"] == 4_000
    assert called["n_peaks"] >= 20
    peak_calling.main("write", tmp_path, str(tmp_path / "told.json"))
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["make"]["n_fragments"] == 4_000
    assert told["pool"]["writing"]["n_tags"] > 3_000


def test_clusters_are_those_drawn(tmp_path):
    from benchmarks import clustering

    clustering.main(tmp_path / "told.json", 300)
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["ari_with_types"] > 0.5
    assert sum(told["share"].values()) == pytest.approx(1, abs=0.01)
