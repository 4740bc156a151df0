"""Whether cells can be clustered at all."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.cli.arguments import paper_section
from epifoundation.config import ClusterConfig
from epifoundation.data.cells import check_clusterable
from epifoundation.errors import DataError
from epifoundation.multiome import multiome

SMALL = {"n_variable_genes": None, "n_pcs": 5, "n_lsi": 5, "n_neighbors": 5, "neighbor_range": 20}
CONFIG = paper_section(ClusterConfig, "cluster", **SMALL)


def cells(n_cells, *, n_genes=3, rate=2.0):
    random = np.random.default_rng(0)
    names = [f"s1#{i}" for i in range(n_cells)]

    def part(kind, n_features):
        values = random.poisson(rate, (n_cells, n_features)).astype(np.int32)
        var = pd.DataFrame(index=[f"{kind}{i}" for i in range(n_features)])
        return ad.AnnData(sparse.csr_matrix(values), obs=pd.DataFrame(index=names), var=var)

    return multiome(part("g", n_genes), part("p", 4), pd.DataFrame({"sample": "s1"}, index=names))


def test_too_few_cells_name_the_option_and_that_it_departs():
    with pytest.raises(DataError) as error:
        check_clusterable(cells(12), CONFIG)
    message = str(error.value)
    assert message.startswith("sample s1: 12 cells are fewer than the 20 candidates")
    assert "cluster.small_samples: true (--small-samples)" in message
    assert "departs from Seurat" in message
    check_clusterable(cells(12), CONFIG.model_copy(update={"small_samples": True}))


def test_three_cells_are_too_few_at_all():
    with pytest.raises(DataError, match="3 cells are too few to cluster, even with small_samples"):
        check_clusterable(cells(3), CONFIG.model_copy(update={"small_samples": True}))


def test_fewer_cells_than_components_are_told(caplog):
    check_clusterable(cells(5), CONFIG.model_copy(update={"small_samples": True}))
    assert "sample s1: 5 cells give at most 4 components, not n_pcs: 5" in caplog.text


def test_matrices_without_counts_are_refused():
    with pytest.raises(DataError, match=r"0 of 3 genes have a count in any of the 30 cells"):
        check_clusterable(cells(30, rate=0), CONFIG)
    with pytest.raises(DataError, match=r"1 of 1 genes have a count in any of the 30 cells"):
        check_clusterable(cells(30, n_genes=1), CONFIG)


def test_cells_without_counts_are_told(caplog):
    some = cells(30)
    values = some["atac"].X.toarray()
    values[[4, 7]] = 0
    some["atac"].X = sparse.csr_matrix(values)
    check_clusterable(some, CONFIG)
    assert "2 of 30 cells have no atac count (first: s1#4)" in caplog.text
