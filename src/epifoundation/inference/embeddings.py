"""The file of embeddings: cells without a matrix, to be read or joined by barcode."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epifoundation import __version__
from epifoundation.files import whole

EMBEDDING_KEY = "X_epifoundation"


def write_embeddings(
    embeddings: NDArray[np.float32], obs: pd.DataFrame, path: Path, **made: str | int
) -> None:
    """Write `obs` and the embeddings of its cells; cells without one (NaN) are left out.

    `made` says how the embeddings were made and is kept in `uns`.
    """
    there = ~np.isnan(embeddings[:, 0])
    cells = ad.AnnData(obs=obs.loc[there], obsm={EMBEDDING_KEY: embeddings[there]})
    cells.uns["epifoundation"] = {"package_version": __version__, **made}
    with whole(path) as partial:
        cells.write_h5ad(partial)
