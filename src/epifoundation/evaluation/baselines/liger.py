"""LIGER, run by a Python of its own: pyliger cannot share our environment."""

import logging
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from epifoundation.errors import MethodError
from epifoundation.evaluation.baselines.cells import Floats, IntegrationCells

logger = logging.getLogger(__name__)


def embed_liger(cells: IntegrationCells, seed: int) -> Floats:
    """Return (n_cells, 20) factors of integrative NMF of binary peaks (pyliger, paper B.2.1)."""
    python = shutil.which(cells.liger_python)
    if python is None:
        message = f"environment missing: no {cells.liger_python}; `make setup` builds it"
        raise MethodError(message)
    with tempfile.TemporaryDirectory(prefix="liger-") as folder:
        request, result = Path(folder, "request.npz"), Path(folder, "embedding.npy")
        matrix = cells.accessible.tocsr()
        np.savez(
            request,
            data=np.ones(matrix.nnz, dtype=np.int32),
            indices=matrix.indices,
            indptr=matrix.indptr,
            shape=np.asarray(matrix.shape),
            batches=cells.batch.astype(str).to_numpy().astype("U"),
            seed=seed,
        )
        worker = Path(__file__).with_name("liger_worker.py")
        done = subprocess.run(
            [str(Path(python).absolute()), str(worker), str(request), str(result)],
            capture_output=True,
            text=True,
            cwd=folder,
            check=False,
        )
        logger.info("%s", done.stderr.strip())
        if done.returncode < 0:
            message = f"pyliger was ended by signal {-done.returncode}, most likely for memory"
            raise MethodError(message)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            message = f"pyliger failed: {reason}"
            raise MethodError(message)
        return np.asarray(np.load(result), dtype=np.float32)
