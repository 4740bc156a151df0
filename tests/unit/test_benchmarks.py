"""The benchmarks that need a GPU or minutes still run: their code, on a size of seconds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def checkout(monkeypatch):
    """`python -m benchmarks.…` is called from the checkout."""
    monkeypatch.syspath_prepend(str(ROOT))


def test_gpu_benchmark_on_a_cpu(tmp_path, capsys):
    from benchmarks import gpu

    output = tmp_path / "gpu.json"
    assert gpu.main(["--device", "cpu", "--small", "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    assert json.loads(capsys.readouterr().out) == report
    measured = report["pretraining"]
    assert "hours_of_the_papers_run" not in measured  # of a tiny network they mean nothing
    assert measured["updates_measured"] > 2
    assert 0 <= measured["loader_wait"] < 1
    assert report["attention_kernels"]["sdpa"] == {"result": 0, "gradient": 0}
    assert sum(kernel["share"] for kernel in report["top_kernels"]) > 0.5


def test_gpu_benchmark_without_a_gpu_is_one_line(tmp_path, capsys):
    from benchmarks import gpu

    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    assert gpu.main(["--output", str(tmp_path / "gpu.json")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--device cpu --small" in said


def test_gpu_benchmark_refuses_the_full_size_on_a_cpu(tmp_path, capsys):
    from benchmarks import gpu

    output = tmp_path / "gpu.json"
    assert gpu.main(["--device", "cpu", "--output", str(output)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--small" in said
    assert not output.exists()


def test_gpu_record_of_the_full_size_is_kept(tmp_path, capsys):
    from benchmarks import gpu

    output = tmp_path / "gpu.json"
    record = '{"small": false, "machine": {"gpu": "NVIDIA H100"}}'
    output.write_text(record)
    assert gpu.main(["--device", "cpu", "--small", "--output", str(output)]) == 2
    assert "NVIDIA H100" in capsys.readouterr().err
    assert output.read_text() == record
    output.write_text('{"small": true}')
    assert gpu.refusal("cpu", output, is_small=True) is None


def test_hours_of_the_papers_run():
    from benchmarks.gpu import hours_of_the_papers_run

    assert hours_of_the_papers_run(120_000 * 140 / (24 * 3600)) == pytest.approx(24)


def test_released_size_is_the_papers():
    from benchmarks.gpu import released

    from epifoundation.config import ModelConfig

    size = released()
    assert (size.sizes.n_peaks, size.sizes.n_genes) == (524_151, 36_601)
    from epifoundation.cli.arguments import paper_section

    assert size.network == paper_section(ModelConfig, "model")


@pytest.mark.parametrize("mode", ["training", "inference"])
def test_padded_references_compute_the_same(monkeypatch, mode):
    from benchmarks import model, padded

    monkeypatch.setattr(padded, "PEAK_POSITIONS", 90)
    monkeypatch.setattr(padded, "GENE_POSITIONS", 30)
    small = model.paper_network(n_layers=2, d_model=32, n_heads=2, d_feedforward=64, max_peaks=89)
    network = model.synthetic_network(small, model.SIZES).eval()
    cells, genes = model.minibatch(np.array([20, 80]), 12)
    with torch.no_grad():
        packed, *others = (model.work(network, v, mode)(cells, genes) for v in model.VARIANTS)
    for other in others:
        torch.testing.assert_close(other, packed, atol=1e-5, rtol=0)


def test_ratios_are_over_what_both_have_computed():
    from benchmarks.model import summary

    def record(seconds: float) -> dict[str, float]:
        return {"cpu_seconds": seconds, "seconds": seconds, "memory_gib": seconds / 10}

    records = {
        "packed.training.0": record(10),
        "authors.training.0": record(20),
        "naive.training.0": record(100),
        "packed.training.1": record(20),
        "authors.training.1": record(30),
        "packed.inference.2": record(1000),
    }
    told = summary(records)
    assert told["training, packed to authors"]["ratio"] == 0.6
    assert told["training, packed to authors"]["packed"] == 15
    assert told["training, packed to naive"]["ratio"] == 0.15  # both beside the one of naive
    assert told["memory, packed to authors"]["ratio"] == 0.6
    assert "inference, packed to authors" not in told


def test_change_by_pretraining_is_of_the_seeds_done_both_ways():
    from benchmarks.pretraining import summary

    scores = {"full.0": 0.2, "no_pretrain.0": 0.5, "full.1": 0.4, "no_pretrain.1": 0.6}
    records = {name: {"macro_f1": value} for name, value in scores.items()}
    assert summary({"full.0": records["full.0"]}) == {}
    told = summary(records | {"full.2": {"macro_f1": 0.9}})
    assert told["macro_f1"]["full"] == {"mean": 0.3, "seeds": [0.2, 0.4]}
    assert told["macro_f1"]["change"] == {"mean": -0.25, "seeds": [-0.3, -0.2]}


def test_lengths_are_those_of_the_text():
    from benchmarks.model import lengths

    peaks = lengths().ravel()
    assert np.median(peaks) == pytest.approx(4_500, rel=0.02)
    assert peaks.max() == 11_999
    assert (peaks**2).mean() / peaks.mean() == pytest.approx(6_760, rel=0.03)


def test_synthetic_store_is_read_as_a_real_one(tmp_path):
    from benchmarks.loader import packed, raw, waits
    from benchmarks.synthetic import synthetic_store

    from epifoundation.model.network import Sizes
    from epifoundation.training.dataset import CellDataset

    sizes = Sizes(3_000, 200, 24, 45)
    store = synthetic_store(tmp_path, sizes, 400, mean_peaks=200, mean_genes=30)
    assert np.diff(store.peak_indptr).mean() == pytest.approx(200, rel=0.1)
    cells = CellDataset(store, np.arange(400), max_peaks=300, seed=0, max_genes=50)
    assert sum(packed(cells, 0)) == sum(raw(store)) == 400
    assert 0 <= waits(cells, 1e-5) <= 1


def test_benchmark_of_integration_metrics_keeps_both_kinds(tmp_path):
    from benchmarks import integration

    output = tmp_path / "integration.json"
    for kind in ("separate", "overlapping"):
        integration.main(output, kind, 200)
    report = json.loads(output.read_text())
    assert list(report) == ["separate", "overlapping"]
    assert report["separate"]["value"]["nmi"] > report["overlapping"]["value"]["nmi"]


def test_peers_split_only_the_cells_they_name(tiny_atlas, tmp_path):
    from benchmarks.peer import split_of_peers

    barcodes = tiny_atlas.store.cells["cell"].str.partition("#")[2]
    names = list(dict.fromkeys(barcodes))  # two samples may share some
    folder = tmp_path / "splits" / "set"
    folder.mkdir(parents=True)
    for place, part in enumerate(("fit", "val", "test")):
        (folder / f"seed0.{part}.txt").write_text("\n".join(names[place::4]))
    split = split_of_peers(tmp_path, "set", 0, tiny_atlas.store)
    parts = ("train", "validation", "test", "unused")
    expected = {name: parts[place % 4] for place, name in enumerate(names)}
    assert list(split["split"]) == [expected[name] for name in barcodes]


def test_marrow_benchmark_adds_what_a_seed_lacks_without_training_again(tiny_atlas, monkeypatch):
    from benchmarks import peer

    from epifoundation.config import Config

    def fail(*arguments):
        raise AssertionError("a trained seed was trained again")

    monkeypatch.setattr(peer, "trained", fail)
    cfg = Config.model_validate(yaml.safe_load((ROOT / "config.yaml").read_text()))
    atlas = (cfg, tiny_atlas.store, tiny_atlas.vocabulary, tiny_atlas.split, 0)
    everything = {"annotation": ["binary_logistic"], "expression": ["gene_mean"]}
    got = peer.scored(*atlas, everything)
    before = {
        task: {m: dict.fromkeys(peer.METRICS[task], 0.5) for m in (peer.OURS, *controls)}
        for task, controls in peer.CONTROLS.items()
    }
    del before["annotation"]["binary_logistic"], before["expression"]["gene_mean"]
    assert peer.lacking(before) == everything
    assert peer.lacking({})["annotation"][0] == peer.OURS
    records = {"0": peer.joined(before, got), "1": before}
    assert not any(peer.lacking(records["0"]).values())
    assert "binary_logistic" not in peer.means(records)["annotation"]  # the mean of one is no mean
    records["1"] = peer.joined(before, got)
    means = peer.means(records)
    assert list(means["annotation"]) == ["epifoundation", *peer.CONTROLS["annotation"]]
    assert means["annotation"]["binary_logistic"] == got["annotation"]["binary_logistic"]
    assert means["annotation"]["majority"]["accuracy"] == 0.5
