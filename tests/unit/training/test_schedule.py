"""The learning rate against the authors' scheduler and by hand."""

import pytest

from epifoundation.training.schedule import learning_rate_at


def test_warms_up_then_falls_on_a_cosine(tiny_training):
    config = tiny_training.model_copy(update={"warmup_fraction": 0.2, "epochs": 10})
    rates = [learning_rate_at(epoch, config) for epoch in (1, 2, 6, 10)]
    middle = (config.learning_rate + config.min_learning_rate) / 2
    assert rates == pytest.approx([5e-4, 1e-3, middle, config.min_learning_rate])


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(1, 1e-6), (6, 1e-4), (16, 1e-6), (21, 9.0e-5), (46, 8.1e-5), (91, 7.29e-5), (140, 2.45e-5)],
)
def test_warm_restarts_are_the_authors(tiny_training, epoch, rate):
    """Rates seen when their scheduler was run; the rate is that of the whole epoch."""
    config = tiny_training.model_copy(
        update={
            "schedule": "warm_restarts",
            "learning_rate": 1e-4,
            "min_learning_rate": 1e-6,
            "epochs": 140,
        }
    )
    rates = [learning_rate_at(epoch - 1 + part, config) for part in (0.01, 0.5, 1)]
    assert rates == pytest.approx([rate] * 3, rel=2e-3)
