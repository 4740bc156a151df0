"""The learning rate at each point of a training."""

import math

from epifoundation.config import TrainConfig

# The authors' cycles, in epochs; each is longer than the one before and peaks lower.
FIRST_CYCLE, CYCLE_GROWTH, CYCLE_WARMUP, PEAK_DECAY = 15, 2, 5, 0.9


def learning_rate_at(epoch: float, config: TrainConfig) -> float:
    """Return the learning rate after `epoch` epochs, parts of one counted."""
    if config.schedule == "warm_restarts":
        return warm_restarts(math.ceil(epoch) - 1, config)
    return warm_cosine(epoch / config.epochs, config)


def warm_cosine(progress: float, config: TrainConfig) -> float:
    """Return the learning rate at a share of all updates: linear warm-up, then cosine."""
    if progress < config.warmup_fraction:
        return config.learning_rate * progress / config.warmup_fraction
    cosine = (progress - config.warmup_fraction) / (1 - config.warmup_fraction)
    span = config.learning_rate - config.min_learning_rate
    return config.min_learning_rate + span * 0.5 * (1 + math.cos(math.pi * cosine))


def warm_restarts(epoch: int, config: TrainConfig) -> float:
    """Return the learning rate of epoch 0, 1, … as the authors restart it.

    Each cycle rises linearly from the lowest rate for five epochs and falls on a cosine; after the
    first warm-up and cosine of 15 epochs together, the falling part doubles from cycle to cycle.
    """
    length, peak, start = FIRST_CYCLE, config.learning_rate, epoch
    while start >= length:
        start -= length
        length = (length - CYCLE_WARMUP) * CYCLE_GROWTH + CYCLE_WARMUP
        peak *= PEAK_DECAY
    lowest = config.min_learning_rate
    if start < CYCLE_WARMUP:
        return lowest + (peak - lowest) * start / CYCLE_WARMUP
    falling = (start - CYCLE_WARMUP) / (length - CYCLE_WARMUP)
    return lowest + (peak - lowest) * 0.5 * (1 + math.cos(math.pi * falling))
