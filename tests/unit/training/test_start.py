"""Pretraining from a given model: its weights under this atlas's ids, or one line why not."""

import dataclasses

import numpy as np
import pytest
import torch

from epifoundation.data.vocabulary import Vocabulary
from epifoundation.errors import ModelError
from epifoundation.hub import Design, FoundationModel, from_pretrained
from epifoundation.model.packing import PackedGenes
from epifoundation.training.dataset import pack_cells
from epifoundation.training.pretrain import pretrain
from epifoundation.training.start import given_start


@pytest.fixture
def folder(pretrained, tmp_path):
    """A model directory of other weights than a random start would have."""
    pretrained.save(tmp_path / "before")
    return tmp_path / "before"


def saved(model: FoundationModel, folder, **changed) -> FoundationModel:
    dataclasses.replace(model, **changed).save(folder)
    return model


def test_a_start_is_the_model_that_was_given(folder, pretrained, tiny_atlas, tiny_model):
    started = given_start(folder, tiny_atlas.vocabulary, tiny_model, variant="full", seed=9)
    for name, tensor in pretrained.network.state_dict().items():
        assert torch.equal(started.network.state_dict()[name], tensor), name
    assert started.design.heads == ("genes",)


def test_ids_in_another_order_mean_the_same(folder, pretrained, tiny_atlas, tiny_model):
    theirs = tiny_atlas.vocabulary
    rng = np.random.default_rng(0)
    peaks, genes = rng.permutation(theirs.n_peaks), rng.permutation(theirs.n_genes)
    ours = Vocabulary(
        theirs.peaks.iloc[peaks].assign(name="p").reset_index(drop=True),
        theirs.genes.iloc[genes].assign(gene_id="").reset_index(drop=True),
        theirs.chromosomes[::-1],
        ("new", *theirs.batches[::-1]),
    )
    started = given_start(folder, ours, tiny_model, variant="full", seed=9)
    outputs = []
    for model, peak_ids, gene_ids, batch in (
        (pretrained, peaks[:20] + 4, genes[:9] + 4, 0),
        (started, np.arange(20) + 4, np.arange(9) + 4, len(theirs.batches)),
    ):
        cells = pack_cells([peak_ids.astype(np.int32)], np.array([batch]))
        asked = PackedGenes(torch.from_numpy(gene_ids), *torch.zeros(2, 9, dtype=torch.int64))
        with torch.no_grad():
            network = model.network.eval()
            outputs.append(network.gene_logits(network(cells), cells, asked).numpy())
    np.testing.assert_allclose(outputs[1], outputs[0], atol=1e-6)
    row = started.network.batch_embedding.table.weight[0]
    assert row.abs().sum() > 0
    assert not (row == pretrained.network.batch_embedding.table.weight).all(dim=1).any()


def test_padding_stays_as_the_model_was_trained(
    pretrained, tiny_atlas, tiny_model, tmp_path, caplog
):
    padded = {"batch_norm": "padded", "max_peaks": 55, "max_genes": 30, "dropout": 0.4}
    design = Design(tiny_model.model_copy(update=padded), ("genes",))
    saved(pretrained, tmp_path / "padded", design=design)
    caplog.set_level("INFO")
    started = given_start(
        tmp_path / "padded", tiny_atlas.vocabulary, tiny_model, variant="full", seed=0
    )
    expected = padded | {"dropout": tiny_model.dropout}
    assert started.design.config == tiny_model.model_copy(update=expected)
    assert started.network.config == started.design.config
    assert "batch_norm padded, max_peaks 55, max_genes 30" in caplog.text


def test_training_goes_on_and_tells_from_what(
    folder, pretrained, tiny_atlas, tiny_model, tiny_training, tiny_execution
):
    parts = (tiny_atlas.store, tiny_atlas.split, tiny_atlas.vocabulary, tiny_model)
    still = tiny_training.model_copy(
        update={"epochs": 1, "learning_rate": 1e-12, "min_learning_rate": 0.0}
    )
    from_it, anew = (
        pretrain(*parts, still, tiny_execution, variant="full", seed=1, start_from=start)
        for start in (folder, None)
    )
    before = pretrained.network.peak_embedding.table.weight
    torch.testing.assert_close(from_it.network.peak_embedding.table.weight, before)
    assert not torch.allclose(anew.network.peak_embedding.table.weight, before)
    assert from_it.told["started_from"] == str(folder)
    assert "started_from" not in anew.told
    untrained = pretrain(
        *parts, still, tiny_execution, variant="no_pretrain", seed=1, start_from=folder
    )
    assert not torch.equal(untrained.network.peak_embedding.table.weight, before)


def lacking_peaks(vocabulary):
    return dataclasses.replace(vocabulary, peaks=vocabulary.peaks[2:].reset_index(drop=True))


def moved_peak(vocabulary):
    peaks = vocabulary.peaks.copy()
    peaks.loc[5, "start"] += 1
    return dataclasses.replace(vocabulary, peaks=peaks)


def renamed_gene(vocabulary):
    genes = vocabulary.genes.copy()
    genes.loc[3, "gene_name"] = "NEW"
    return dataclasses.replace(vocabulary, genes=genes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lacking_peaks, r"its peaks .*: 2 of 300 of its own are not in the atlas \(first: chr"),
        (
            moved_peak,
            r"1 of 300 of the atlas are unknown to it .*1 of 300 .*peaks\.frozen: .*before",
        ),
        (renamed_gene, r"its genes .*: 1 of 163 of the atlas are .*\(first: NEW .*reference"),
    ],
)
def test_another_vocabulary_is_refused(folder, tiny_atlas, tiny_model, change, said):
    ours = change(tiny_atlas.vocabulary)
    with pytest.raises(ModelError, match=said) as refused:
        given_start(folder, ours, tiny_model, variant="full", seed=0)
    assert "\n" not in str(refused.value)
    assert "start_from: null" in str(refused.value)


def test_another_size_is_refused(folder, tiny_atlas, tiny_model):
    model = tiny_model.model_copy(update={"n_layers": 3, "pooling": "mean", "max_peaks": 7})
    with pytest.raises(ModelError, match=r"\(n_layers: 2, not 3; pooling: cls, not mean\)"):
        given_start(folder, tiny_atlas.vocabulary, model, variant="full", seed=0)


def test_a_fine_tuned_model_and_an_ablation_are_refused(folder, tiny_atlas, tiny_model, tmp_path):
    of_types = FoundationModel.build(
        Design(tiny_model, ("cell_types",)), tiny_atlas.vocabulary, cell_types=("A", "B"), seed=0
    )
    of_types.save(tmp_path / "types")
    parts = (tiny_atlas.vocabulary, tiny_model)
    with pytest.raises(ModelError, match="predicts cell types, and no genes: it was fine-tuned"):
        given_start(tmp_path / "types", *parts, variant="full", seed=0)
    with pytest.raises(ModelError, match=r"no model of the variant no_batch \(batch embedding: T"):
        given_start(folder, *parts, variant="no_batch", seed=0)


def test_a_model_without_batches_goes_on_without(tiny_atlas, tiny_model, tmp_path):
    """As the authors' published weights are."""
    design = Design(tiny_model, ("genes",), use_batch=False)
    FoundationModel.build(design, tiny_atlas.vocabulary, seed=0).save(tmp_path / "m")
    for variant in ("full", "no_batch"):
        started = given_start(
            tmp_path / "m", tiny_atlas.vocabulary, tiny_model, variant=variant, seed=0
        )
        assert not started.design.use_batch
    assert from_pretrained(tmp_path / "m").design.use_batch is False
