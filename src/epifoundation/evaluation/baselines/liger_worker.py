"""Integrate with pyliger, in an environment of its own: imports nothing of epifoundation.

Usage: python liger_worker.py REQUEST.npz EMBEDDING.npy
"""

import sys

import anndata as ad
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyliger
from scipy import sparse

N_FACTORS = 20  # k and lambda of the worked example of pyliger's optimize_ALS
LAMBDA = 5.0
MAX_PEAKS = 20_000  # the factorisation holds cells × these densely


def embed(
    peaks: sparse.csr_matrix, batches: npt.NDArray[np.str_], seed: int
) -> npt.NDArray[np.float32]:
    """Return (n_cells, k) quantile-normalised factors of integrative NMF, cells in order.

    pyliger's choice of variable features tests against Poisson noise, which binary values never
    exceed. Taken instead: of the peaks open in every batch, those open in most cells.
    """
    members = [np.flatnonzero(batches == batch) for batch in np.unique(batches)]
    chosen = _peaks_of_most_cells(peaks, members)
    cell_names = np.array([f"cell{i}" for i in range(peaks.shape[0])])
    peak_names = pd.Index([f"peak{j}" for j in chosen], name="peak")
    samples = []
    for number, rows in enumerate(members):
        obs = pd.DataFrame(index=pd.Index(cell_names[rows], name="cell"))
        sample = ad.AnnData(peaks[rows][:, chosen], obs=obs, var=pd.DataFrame(index=peak_names))
        sample.uns["sample_name"] = str(number)
        samples.append(sample)
    joined = pyliger.create_liger(samples)
    pyliger.normalize(joined)
    joined.var_genes = peak_names.to_numpy()
    for part in joined.adata_list:
        part.uns["var_gene_idx"] = np.arange(len(chosen))
    pyliger.scale_not_center(joined)
    pyliger.optimize_ALS(joined, k=N_FACTORS, value_lambda=LAMBDA, rand_seed=seed + 1)
    pyliger.quantile_norm(joined, rand_seed=seed + 1)
    factors = pd.concat(
        pd.DataFrame(part.obsm["H_norm"], index=part.obs_names) for part in joined.adata_list
    )
    # pyliger drops cells without any of the peaks: they load on no factor
    return factors.reindex(cell_names, fill_value=0.0).to_numpy(np.float32)


def _peaks_of_most_cells(
    peaks: sparse.csr_matrix, members: list[npt.NDArray[np.int64]]
) -> npt.NDArray[np.int64]:
    n_open = np.array([np.asarray(peaks[rows].sum(axis=0)).ravel() for rows in members])
    shared = np.flatnonzero((n_open > 0).all(axis=0))
    ranked = np.argsort(-n_open[:, shared].sum(axis=0), kind="stable")[:MAX_PEAKS]
    return np.sort(shared[ranked])


if __name__ == "__main__":
    request = np.load(sys.argv[1])
    matrix = sparse.csr_matrix(
        (request["data"], request["indices"], request["indptr"]), shape=request["shape"]
    )
    np.save(sys.argv[2], embed(matrix, request["batches"], int(request["seed"])))
