"""PeakVI on binary peaks, with the settings and the stopping rule of its authors in scvi-tools."""

import numpy as np

from epifoundation.evaluation.baselines.cells import Floats, IntegrationCells

LEARNING_RATE = 1e-4
MAX_EPOCHS = 500  # fewer where the loss on a tenth of the cells has not improved for 50


def embed_peakvi(cells: IntegrationCells, seed: int) -> Floats:
    """Return the latent means; their number follows from the number of peaks."""
    import anndata as ad
    import scvi

    scvi.settings.seed = seed
    data = ad.AnnData(cells.accessible.astype(np.float32, copy=False))
    data.obs["batch"] = cells.batch.astype(str).to_numpy()
    scvi.model.PEAKVI.setup_anndata(data, batch_key="batch")
    model = scvi.model.PEAKVI(data)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    model.train(MAX_EPOCHS, LEARNING_RATE, enable_checkpointing=False, **quiet)
    return np.asarray(model.get_latent_representation(), dtype=np.float32)
