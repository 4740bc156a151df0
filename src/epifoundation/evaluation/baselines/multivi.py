"""MultiVI: expression from peaks, with the settings of its authors in scvi-tools.

Learns from both modalities of the training cells and from the peaks alone of all others.
"""

import numpy as np
from scipy import sparse

from epifoundation.errors import EvaluationError
from epifoundation.evaluation.baselines.affine import fit_lines
from epifoundation.evaluation.baselines.cells import ExpressionCells, Floats

LEARNING_RATE = 1e-4
MAX_EPOCHS = 500  # fewer where the loss on a tenth of the cells has not improved for 50
CELLS_AT_ONCE = 2048  # bounds memory: this × genes
SCALE = 1e4


def predict_multivi(cells: ExpressionCells, seed: int) -> Floats:
    """Return levels of the test cells, from MultiVI's expression given the peaks alone.

    MultiVI returns each gene's share of a cell. Levels are another scale: log(1 + 10^4 · share)
    becomes levels by a line per gene, fitted on training cells, their RNA hidden too.
    """
    import anndata as ad
    import mudata as md
    import scvi

    if cells.counts is None:
        message = "no counts of genes"
        raise EvaluationError(message)
    n_cells = len(cells.split)
    batch = np.full(n_cells, "all", dtype=object) if cells.batch is None else cells.batch
    peaks = cells.accessible.astype(np.float32, copy=False)
    train = sparse.diags((cells.split == "train").astype(np.float32))
    shown = sparse.csr_matrix(train @ cells.counts, dtype=np.float32)

    def both(counts: sparse.csr_matrix) -> md.MuData:
        data = md.MuData({"rna": ad.AnnData(counts), "atac": ad.AnnData(peaks)})
        data.obs["batch"] = batch
        names = {"rna_layer": "rna", "atac_layer": "atac"}
        scvi.model.MULTIVI.setup_mudata(data, batch_key="batch", modalities=names)
        return data

    scvi.settings.seed = seed
    data = both(shown)
    model = scvi.model.MULTIVI(data, n_genes=shown.shape[1], n_regions=peaks.shape[1])
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    model.train(MAX_EPOCHS, LEARNING_RATE, enable_checkpointing=False, **quiet)
    hidden = both(sparse.csr_matrix(shown.shape, dtype=np.float32))

    def imputed(rows: np.ndarray) -> Floats:
        shares = model.get_normalized_expression(hidden, indices=rows, return_numpy=True)
        return np.asarray(np.log1p(SCALE * shares))

    lines = fit_lines(
        (imputed(rows), cells.levels[rows].toarray()) for rows in _blocks(cells, "train")
    )
    return np.concatenate([lines(imputed(rows)) for rows in _blocks(cells, "test")])


def _blocks(cells: ExpressionCells, part: str) -> list[np.ndarray]:
    rows = np.flatnonzero(cells.split == part)
    return [rows[first : first + CELLS_AT_ONCE] for first in range(0, len(rows), CELLS_AT_ONCE)]
