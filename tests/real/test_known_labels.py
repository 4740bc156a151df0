"""Real cells of known types, labelled by profiles of other studies: agreement, not identity.

The profiles are of sorted cells on microarrays (38 types) and of nine types of blood; the cells are
100 of blood, and 500 of marrow seen through 600 genes. Types are compared by lineage, since names
and grain differ.
"""

import logging
import re

import pandas as pd
import pytest
from sklearn.metrics import normalized_mutual_info_score

from epifoundation.cli.arguments import paper_section
from epifoundation.config import ClusterConfig, LabelConfig
from epifoundation.data.clusters import cluster_cells, cluster_rna
from epifoundation.data.imports import pair, read_atac, read_rna
from epifoundation.data.labels import label_clusters
from epifoundation.data.profiles import read_profiles
from epifoundation.multiome import multiome

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*written without encoding metadata"),
    pytest.mark.filterwarnings("ignore:Moving element from .uns"),
]

logger = logging.getLogger(__name__)

LINEAGES = {  # the first that matches
    "progenitor": r"prog|HSC|stem|Colony.*(Granul|Mega)|Early B|Pro B",
    "erythroid": r"ryth|Normobl",
    "myeloid": r"Mono|cDC|^DC$|Myeloid|Granul|phil",
    "pDC": r"pDC|Plasmacytoid",
    "B": r"^B|B[- ]cell| B$|^Na.ve CD20|Plasma|Transitional",
    "T, NK": r"CD4|CD8|NK|gdT|MAIT|ILC|T$",
}

CASES = {
    "blood": (
        "pbmc_multiome_100/10xpbmc_rna_subset.h5ad",
        "pbmc_multiome_100/10xpbmc_atac_subset.h5ad",
        {"small_samples": True},
    ),
    "marrow B": (
        "bmmc_neurips2021/B_abffffe.rna.h5ad",
        "bmmc_neurips2021/B_abffffe.atac.h5ad",
        {"n_variable_genes": None},
    ),
    "marrow D": (
        "bmmc_neurips2021/D_e056d38.rna.h5ad",
        "bmmc_neurips2021/D_e056d38.atac.h5ad",
        {"n_variable_genes": None},
    ),
}


def lineage(name):
    found = (kind for kind, pattern in LINEAGES.items() if re.search(pattern, name))
    return next(found, "other")


@pytest.fixture(scope="module")
def data(shared):
    return shared / "data"


@pytest.fixture(scope="module", params=CASES)
def labelled(request, data):
    """Clusters of both modalities, of RNA alone, and the known types, as three sources."""
    rna_file, atac_file, changed = CASES[request.param]
    rna, atac = pair(read_rna(data / rna_file, None), read_atac(data / atac_file), where="real")
    if request.param == "blood":
        table = pd.read_csv(data / "pbmc_multiome_100/labels.csv", index_col="barcode")
        known = table["azimuth"].reindex(rna.obs_names)
    else:
        known = rna.obs["cell_type"]
    rna, atac, known = rna[known.notna()], atac[known.notna()], known.dropna()
    config = paper_section(ClusterConfig, "cluster", **changed)
    both = multiome(rna.copy(), atac.copy(), pd.DataFrame(index=rna.obs_names))
    cells = cluster_cells(both, config)
    alone = cluster_rna(rna, config, sample="s", qc=None)
    alone["barcode"] = alone["barcode"].str.removeprefix("s#")
    types = pd.DataFrame({"barcode": rna.obs_names, "cluster": known.to_numpy()})
    return cells, known, {"disco_wnn": None, "disco_rna": alone, "known": types}


@pytest.mark.parametrize("method", ["spearman", "cellid"])
@pytest.mark.parametrize(
    ("reference", "from_clusters", "from_known_types", "nmi_of_known_types"),
    [
        # 38 sorted types; blood is three clusters, marrow five or six of 20 types
        pytest.param("ref_hema_microarray", 0.75, 0.95, 0.84, id="sorted"),
        # nine types of blood: of marrow's red cells and progenitors there is no profile
        pytest.param("pbmc_avg", 0.68, 0.82, 0.68, id="blood types"),
    ],
)
def test_lineages_agree(
    labelled, data, reference, from_clusters, from_known_types, nmi_of_known_types, method
):
    cells, known, sources = labelled
    config = paper_section(LabelConfig, "labels", method=method, min_shared_genes=100)
    profiles = read_profiles(data / f"reference_profiles/{reference}.tsv.gz")
    true = known.map(lineage).to_numpy()
    assert "other" not in true
    largest = pd.Series(true).value_counts(normalize=True).max()
    for source, clusters in sources.items():
        found = label_clusters(cells, profiles, None, config, clusters=clusters)["cell_type"]
        share = (found.map(lineage).to_numpy() == true).mean()
        nmi = normalized_mutual_info_score(known, found)
        text = "%s: lineage right %.3f (largest %.3f), NMI %.3f"
        logger.info(text, source, share, largest, nmi)
        assert share > (from_known_types if source == "known" else from_clusters)
        assert share > largest + 0.08
        assert source != "known" or nmi > nmi_of_known_types
