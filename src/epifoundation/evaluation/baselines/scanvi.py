"""scANVI on binary peaks, with the settings of scib.integration.scanvi 1.1.7."""

import logging
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from epifoundation.errors import EvaluationError
from epifoundation.evaluation.baselines.cells import AnnotationCells, Floats, IntegrationCells

if TYPE_CHECKING:
    import anndata as ad
    import scvi

logger = logging.getLogger(__name__)

UNKNOWN = "UnknownUnknown"
N_LATENT, N_HIDDEN, N_LAYERS = 30, 128, 2


def scanvi_epochs(n_cells: int) -> tuple[int, int]:
    """Return scib's epochs of scVI and of scANVI: fewer for more cells."""
    first = min(round(20_000 / n_cells * 400), 400)
    return first, min(10, max(2, round(first / 3)))


def embed_scanvi(cells: IntegrationCells, seed: int) -> Floats:
    """Return (n_cells, 30) latent means; cells whose type is missing count as unlabelled."""
    data = _data(cells.accessible, cells.batch.astype(str).to_numpy(dtype=object), cells.cell_type)
    return np.asarray(_trained(data, seed).get_latent_representation(), dtype=np.float32)


def annotate_scanvi(cells: AnnotationCells, seed: int) -> tuple[Floats, list[str]]:
    """Return scANVI's probabilities of the types; only training cells show theirs."""
    train, test = cells.split == "train", cells.split == "test"
    if len(np.unique(cells.cell_type[train].astype(str))) < 2:
        message = "the training cells are of one type"
        raise EvaluationError(message)
    n_cells = len(cells.split)
    batch = np.full(n_cells, "all", dtype=object) if cells.batch is None else cells.batch
    data = _data(cells.accessible, batch, pd.Series(cells.cell_type).where(train))
    probabilities = _trained(data, seed).predict(indices=np.flatnonzero(test), soft=True)
    return probabilities.to_numpy(), [str(name) for name in probabilities.columns]


def _data(
    accessible: sparse.csr_matrix, batch: npt.NDArray[np.object_], cell_type: pd.Series
) -> "ad.AnnData":
    import anndata as ad

    data = ad.AnnData(accessible.astype(np.float32, copy=False))
    data.obs["batch"] = batch
    data.obs["cell_type"] = cell_type.fillna(UNKNOWN).astype(str).to_numpy()
    return data


def _trained(data: "ad.AnnData", seed: int) -> "scvi.model.SCANVI":
    import scvi

    from epifoundation.evaluation.baselines.binary_counts import expect_binary

    scvi.settings.seed = seed
    first, second = scanvi_epochs(data.n_obs)
    logger.info("scVI %d epochs, then scANVI %d, on %d cells", first, second, data.n_obs)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    scvi.model.SCVI.setup_anndata(data, batch_key="batch")
    variational = scvi.model.SCVI(
        data, gene_likelihood="nb", n_layers=N_LAYERS, n_latent=N_LATENT, n_hidden=N_HIDDEN
    )
    expect_binary(variational.module)
    variational.train(max_epochs=first, train_size=1.0, **quiet)
    labelled = scvi.model.SCANVI.from_scvi_model(
        variational, labels_key="cell_type", unlabeled_category=UNKNOWN
    )
    expect_binary(labelled.module)
    labelled.train(max_epochs=second, train_size=1.0, **quiet)
    return labelled
