"""Protocols beside `paper` through the workflow, on one data set of the demo; planted leaks."""

import shutil

import pandas as pd
import pytest
import yaml

from epifoundation.data.leaks import LEARNED_FILE

pytestmark = pytest.mark.slow

STEPS = ("split", "annotate_controls", "integrate", "embed_pretrained", "finetune_cell_type")
SPLIT = "atlas/miniatlas/splits/Kidney.{}.seed0.tsv"
CONTROL = "evaluation/miniatlas/Kidney/{}.seed0/annotation/lsi_logistic.parquet"
MODEL = "models/miniatlas/finetune_cell_type/Kidney/full.{}.seed0"
PRETRAINED = "models/miniatlas/pretrain/full.seed0"
EMBEDDING = "evaluation/miniatlas/Kidney/label_free.seed0/integration/{}.parquet"


@pytest.fixture(scope="module")
def results(demo, tmp_path_factory):
    """A folder of results that has the demo's cells and pretrained model, and none of the rest."""
    folder = tmp_path_factory.mktemp("protocols")
    shutil.copytree(demo / "atlas/miniatlas/store", folder / "atlas/miniatlas/store")
    shutil.copytree(demo / PRETRAINED, folder / PRETRAINED)
    overlay = {
        "results_dir": str(folder),
        "finetune_cell_type": {"epochs": 1},
        "benchmark": {
            "protocols": ["sample_held_out", "donor_held_out", "label_free", "few_shot_10"],
            "integration": ["scanvi"],
            "annotation": ["lsi_logistic"],
        },
    }
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    return folder


@pytest.fixture(scope="module")
def run(results, snakemake):
    """Run steps up to the given files, from what lies in the folder."""

    def make(*paths):
        overlays = ("config/demo.yaml", results / "overlay.yaml")
        return snakemake(
            *("--configfile", *overlays, "--rerun-triggers", "mtime"),
            *("--allowed-rules", *STEPS, "--", *(results / path for path in paths)),
        )

    return make


@pytest.fixture(scope="module")
def made(results, run):
    protocols = ("sample_held_out", "donor_held_out", "few_shot_10")
    wanted = [pattern.format(p) for p in protocols for pattern in (SPLIT, CONTROL)]
    wanted += [MODEL.format("few_shot_10")]
    wanted += [EMBEDDING.format(m) for m in ("epifoundation_pretrained", "scanvi")]
    finished = run(*wanted)
    assert finished.code == 0, finished.output[-4000:]
    return results


@pytest.fixture
def planted(made, tmp_path):
    """The folder, to plant a leak in: it is laid back as it was, with its times."""
    kept = shutil.copytree(made, tmp_path / "kept")
    yield made
    shutil.rmtree(made)
    shutil.copytree(kept, made)


def parts(results, protocol):
    table = pd.read_csv(results / SPLIT.format(protocol), sep="\t")
    table["sample"] = table["cell"].str.partition("#")[0]
    return table.groupby("split")["sample"].unique().map(set).to_dict(), table


def test_a_sample_or_an_unpretrained_donor_is_held_out(made):
    for protocol in ("sample_held_out", "donor_held_out"):
        samples, _ = parts(made, protocol)
        assert len(samples["test"]) == 1
        assert not samples["test"] & (samples["train"] | samples["validation"])
        predicted = pd.read_parquet(made / CONTROL.format(protocol))
        assert set(predicted["cell"].str.partition("#")[0]) == samples["test"]
    # The donor of Kidney_1 gave the atlas its liver.
    assert parts(made, "donor_held_out")[0]["test"] == {"Kidney_2"}


def test_ten_labels_of_a_type_are_learned_from(made):
    _, table = parts(made, "few_shot_10")
    assert table["split"].isin(["train", "validation"]).sum() <= 6 * 10
    assert (made / MODEL.format("few_shot_10") / "cell_types.tsv").exists()


def test_no_label_is_needed_or_taken_without_labels(made):
    embedding = pd.read_parquet(made / EMBEDDING.format("epifoundation_pretrained"))
    assert len(embedding) == len(parts(made, "label_free")[1])
    refused = pd.read_parquet(made / EMBEDDING.format("scanvi"))
    assert refused["failed"].str.contains("label_free: scanvi learns from labels").all()


def test_a_planted_sample_on_both_sides_stops_the_run(planted, run):
    path = planted / SPLIT.format("sample_held_out")
    table = pd.read_csv(path, sep="\t")
    table.loc[table.index[table["split"] == "test"][0], "split"] = "train"
    table.to_csv(path, sep="\t", index=False)
    finished = run(CONTROL.format("sample_held_out"))
    assert finished.code != 0
    assert "is on both sides of sample_held_out" in finished.output
    assert "Traceback" not in finished.output


def test_a_planted_test_cell_in_pretraining_stops_the_run(planted, run):
    _, table = parts(planted, "few_shot_10")
    leaked = table[table["split"] == "test"].iloc[0]
    path = planted / PRETRAINED / LEARNED_FILE
    row = {"cell": leaked["cell"], "sample": leaked["sample"], "donor": ""}
    pd.concat([pd.read_parquet(path), pd.DataFrame([row])]).to_parquet(path)
    shutil.rmtree(planted / MODEL.format("few_shot_10"))
    finished = run(MODEL.format("few_shot_10"))
    assert finished.code != 0
    assert f"few_shot_10 tests: 1 of 160 (first: {leaked['cell']})" in finished.output
    assert "Traceback" not in finished.output
