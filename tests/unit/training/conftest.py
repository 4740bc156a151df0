"""What tests of training share."""

import signal
from collections.abc import Iterator

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
def hears_interrupts() -> Iterator[None]:
    """Ctrl-C as in a terminal; a shell ignores it for what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def finetuning(tiny_training) -> FinetuneConfig:
    return FinetuneConfig(**tiny_training.model_dump(), trainable="full", lora_rank=2)


@pytest.fixture
def pretrained(tiny_atlas, tiny_model) -> FoundationModel:
    """An untrained model, as if pretrained."""
    return FoundationModel.build(Design(tiny_model, ("genes",)), tiny_atlas.vocabulary, seed=5)
