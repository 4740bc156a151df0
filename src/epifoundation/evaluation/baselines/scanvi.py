"""scANVI on binary peaks, with the settings of scib.integration.scanvi 1.1.7."""

import logging

import numpy as np

from epifoundation.evaluation.baselines.cells import Floats, IntegrationCells

logger = logging.getLogger(__name__)

UNKNOWN = "UnknownUnknown"
N_LATENT, N_HIDDEN, N_LAYERS = 30, 128, 2


def scanvi_epochs(n_cells: int) -> tuple[int, int]:
    """Return scib's epochs of scVI and of scANVI: fewer for more cells."""
    first = min(round(20_000 / n_cells * 400), 400)
    return first, min(10, max(2, round(first / 3)))


def embed_scanvi(cells: IntegrationCells, seed: int) -> Floats:
    """Return (n_cells, 30) latent means; cells whose type is missing count as unlabelled."""
    import anndata as ad
    import scvi

    from epifoundation.evaluation.baselines.binary_counts import expect_binary

    scvi.settings.seed = seed
    data = ad.AnnData(cells.accessible.astype(np.float32))
    data.obs["batch"] = cells.batch.astype(str).to_numpy()
    data.obs["cell_type"] = cells.cell_type.fillna(UNKNOWN).astype(str).to_numpy()
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
    return np.asarray(labelled.get_latent_representation(), dtype=np.float32)
