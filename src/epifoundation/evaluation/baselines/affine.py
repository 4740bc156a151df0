"""A straight line per gene, from a method's scale to that of the target."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lines:
    """`slope · x + intercept`, each (n_genes,)."""

    slope: Doubles
    intercept: Doubles

    def __call__(self, x: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Return (n_cells, n_genes) on the target's scale."""
        return np.asarray(x * self.slope + self.intercept, dtype=np.float32)


def fit_lines(blocks: Iterable[tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]]) -> Lines:
    """Return each gene's line of least squares through all cells; flat where x is constant.

    Parameters
    ----------
    blocks
        Of some cells each: what the method says, and the target, both (n_cells, n_genes).
    """
    n, sums = 0, np.zeros((4, 1))
    for x, y in blocks:
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        n += len(x)
        sums = sums + np.stack([x.sum(0), y.sum(0), (x * x).sum(0), (x * y).sum(0)])
    mean_x, mean_y, mean_xx, mean_xy = sums / n
    variance = mean_xx - mean_x**2
    varies = variance > 1e-12 * np.maximum(mean_xx, 1e-30)  # more than rounding leaves
    covariance = mean_xy - mean_x * mean_y
    slope = np.divide(covariance, variance, out=np.zeros_like(variance), where=varies)
    return Lines(slope, mean_y - slope * mean_x)
