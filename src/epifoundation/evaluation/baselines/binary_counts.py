"""scVI's negative binomial likelihood of values that are 0 or 1, without the gamma function.

Of x in {0, 1}, lgamma(x + theta) - lgamma(theta) is x · log(theta) and lgamma(x + 1) is 0. The
likelihood is the same; a training step takes half the time, which was mostly lgamma's.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-8  # scvi's


@dataclass(frozen=True)
class BinaryCounts:
    """Negative binomial of mean `mu`, (n_cells, n_features), and dispersion `theta` by feature."""

    mu: Tensor
    theta: Tensor

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log likelihood of binary values, (n_cells, n_features)."""
        log_theta = torch.log(self.theta + EPSILON)
        log_total = torch.log(self.theta + self.mu + EPSILON)
        log_mean = torch.log(self.mu + EPSILON)
        return self.theta * (log_theta - log_total) + value * (log_mean + log_theta - log_total)


def expect_binary(module: Any) -> None:
    """Let a scvi module with one dispersion per feature score its reconstruction as binary."""
    generate = module.generative

    def generative(*args: Any, **kwargs: Any) -> dict[str, Any]:
        outputs: dict[str, Any] = generate(*args, **kwargs)
        counts = outputs["px"]
        outputs["px"] = BinaryCounts(counts.mu, counts.theta[:1])
        return outputs

    module.generative = generative
