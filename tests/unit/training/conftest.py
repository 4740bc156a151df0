"""What tests of training share."""

import pytest
from training_runs import pretraining

from epifoundation.config import FinetuneConfig
from epifoundation.hub import Design, FoundationModel


@pytest.fixture
def run_of(tiny_atlas, tiny_model, tiny_training, tiny_execution):
    """Return a function that makes a run, with parts of the settings changed."""

    def make(*, model=None, config=None, execution=None, folder=None, n_cells=24):
        return pretraining(
            tiny_atlas.store,
            tiny_atlas.split,
            tiny_atlas.vocabulary,
            tiny_model.model_copy(update=model or {}),
            tiny_training.model_copy(update=config or {}),
            tiny_execution.model_copy(update=execution or {}),
            folder,
            n_cells,
        )

    return make


@pytest.fixture
def finetuning(tiny_training) -> FinetuneConfig:
    return FinetuneConfig(**tiny_training.model_dump(), trainable="full", lora_rank=2)


@pytest.fixture
def pretrained(tiny_atlas, tiny_model) -> FoundationModel:
    """An untrained model, as if pretrained."""
    return FoundationModel.build(Design(tiny_model, ("genes",)), tiny_atlas.vocabulary, seed=5)
