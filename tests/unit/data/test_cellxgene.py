import shutil
import subprocess
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from epifoundation.data import csr_files
from epifoundation.data.cellxgene import (
    TERMS,
    cell_terms,
    read_gene_list,
    read_terms,
    tissue_terms,
    write_cellxgene,
)
from epifoundation.data.expression import log_normalize
from epifoundation.data.multiome_rows import MultiomeRows
from epifoundation.data.streamed_pca import streamed_pca
from epifoundation.errors import ContractError, DataError
from epifoundation.multiome import multiome
from epifoundation.samples import SampleSheet

OLD_FILE = pytest.mark.filterwarnings("ignore:.*written without encoding metadata")
GENE_LIST = "gencode_files/genes_homo_sapiens.csv.gz"  # of the validator
IDS = ("ENSG00000000003.15", "ENSG00000000005", "SIM1", "ENSG00000000003.2", "ENSG00000000419")


def cells(counts=None, ids=IDS, **obs):
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, size=(6, len(ids))) if counts is None else counts
    names = pd.DataFrame(index=[f"s{i // 3}#c{i}" for i in range(len(counts))])
    var = pd.DataFrame({"gene_id": ids, "chrom": "chr1"}, index=[f"g{i}" for i in range(len(ids))])
    peaks = pd.DataFrame({"chrom": "chr1", "start": [1], "end": [3]}, index=["p"])
    said = {
        "sample": [name.split("#")[0] for name in names.index],
        "batch": "b",
        "tissue": "Kidney",
        "donor": "",
        "cell_type": "T",
        "cell_ontology_id": "CL:0000084",
    }
    one = sparse.csr_matrix(np.ones((len(counts), 1), int))
    return multiome(
        ad.AnnData(sparse.csr_matrix(counts), obs=names, var=var),
        ad.AnnData(one, obs=names, var=peaks),
        names.assign(**said | obs),
    )


def written(folder, mdata, *, terms=None, genes=None):
    path = folder / "cells.h5ad"
    write_cellxgene(
        MultiomeRows.of(mdata), path, title="Cells", sample_terms=terms, accepted_genes=genes
    )
    return ad.read_h5ad(path)


def test_counts_and_normalised_values_of_human_genes_are_written(tmp_path):
    mdata = cells()
    made = written(tmp_path, mdata)
    assert made.var_names.tolist() == ["ENSG00000000003", "ENSG00000000005", "ENSG00000000419"]
    counts = mdata["rna"].X[:, [0, 1, 4]]
    assert made.raw.var_names.equals(made.var_names)
    assert np.array_equal(made.raw.X.toarray(), counts.toarray())
    np.testing.assert_allclose(made.X.toarray(), log_normalize(counts).toarray(), rtol=1e-6)
    assert (made.X.dtype, made.raw.X.dtype) == (np.float32, np.float32)
    assert not made.var["feature_is_filtered"].any()
    assert "feature_is_filtered" not in made.raw.var
    assert made.uns["organism_ontology_term_id"] == "NCBITaxon:9606"
    assert made.uns["title"] == "Cells"
    assert made.obsm["X_pca"].shape == (6, 3)


def test_cells_get_the_terms_of_the_schema(tmp_path):
    obs = written(tmp_path, cells()).obs
    first = obs.iloc[0]
    assert {name: first[name] for name in TERMS} == TERMS
    assert first["tissue_ontology_term_id"] == "UBERON:0002113"
    assert first["cell_type_ontology_term_id"] == "CL:0000084"
    assert (first["donor_id"], first["sample"]) == ("unknown", "s0")
    assert obs["is_primary_data"].dtype == bool
    assert not {"cell_type", "tissue", "assay", "organism"} & set(obs)
    text = [name for name in obs if name.endswith("_id")]
    assert all(isinstance(obs[name].dtype, pd.CategoricalDtype) for name in text)


def test_terms_of_a_sample_replace_what_is_assumed(tmp_path):
    told = tmp_path / "terms.tsv"
    told.write_text(
        "sample\tsex_ontology_term_id\ttissue_ontology_term_id\tis_primary_data\n"
        "s1\tPATO:0000383\tUBERON:0000178\tTrue\n"
    )
    obs = written(tmp_path, cells(), terms=read_terms(told)).obs
    assert obs["sex_ontology_term_id"].tolist() == ["unknown"] * 3 + ["PATO:0000383"] * 3
    assert obs["tissue_ontology_term_id"].unique().tolist() == ["UBERON:0002113", "UBERON:0000178"]
    assert obs["is_primary_data"].tolist() == [False] * 3 + [True] * 3


def test_bad_terms_are_an_error(tmp_path):
    told = pd.DataFrame({"sample": ["s1"], "sex": ["female"]})
    with pytest.raises(DataError, match=r"cellxgene\.sample_terms has columns sex; known"):
        cell_terms(cells().obs, told)
    (tmp_path / "terms.tsv").write_text("name\tsex_ontology_term_id\n")
    with pytest.raises(ContractError, match="column 'sample' is missing"):
        read_terms(tmp_path / "terms.tsv")
    assert read_terms(None) is None


def test_cells_without_type_or_ontology_column_are_unknown():
    obs = cell_terms(cells(cell_ontology_id="").obs, None)
    assert set(obs["cell_type_ontology_term_id"]) == {"unknown"}
    obs = cell_terms(cells().obs.drop(columns="cell_ontology_id"), None)
    assert set(obs["cell_type_ontology_term_id"]) == {"unknown"}


def test_tissue_without_a_term_is_an_error():
    with pytest.raises(DataError, match=r"6 of 6 cells .*UBERON term: Moon\.") as error:
        cell_terms(cells(tissue="Moon").obs, None)
    assert "in cellxgene.sample_terms." in str(error.value)


def test_every_tissue_of_the_paper_has_a_term(root):
    sheet = SampleSheet.read(root / "config/samples.tsv", labels="none", profiles="", root=root)
    known = tissue_terms()
    assert {row.tissue for row in sheet.rows} <= set(known)
    assert all(term.startswith("UBERON:") and len(term) == 14 for term in known.values())


def test_genes_unknown_to_cellxgene_are_left_out(tmp_path):
    (tmp_path / "genes.csv").write_text("ENSG00000000005,TNMD,6,1205\n")
    accepted = read_gene_list(tmp_path / "genes.csv")
    assert written(tmp_path, cells(), genes=accepted).var_names.tolist() == ["ENSG00000000005"]
    assert read_gene_list(None) is None


def test_simulated_genes_are_an_error(tmp_path):
    with pytest.raises(DataError, match=r"none of 2 genes has a human Ensembl id .*SIM1, SIM2"):
        written(tmp_path, cells(ids=("SIM1", "SIM2")))
    assert not list(tmp_path.iterdir())


def test_cell_without_counts_is_an_error(tmp_path):
    counts = np.ones((6, 5), int)
    counts[4, [0, 1, 3, 4]] = 0
    with pytest.raises(DataError, match=r"1 cells have no count in the 3 genes .*first: s1#c4"):
        written(tmp_path, cells(counts))


def test_streamed_components_are_those_of_all_cells_at_once():
    rng = np.random.default_rng(1)
    dense = rng.poisson(0.5, size=(80, 30)) * rng.random(30) * 3
    matrix = sparse.csr_matrix(dense)
    found = streamed_pca(
        lambda: iter([matrix[:33], matrix[33:]]), n_genes=30, n_components=5, most_genes=20
    )
    chosen = np.sort(np.argsort(-dense.var(axis=0))[:20])
    centred = dense[:, chosen] - dense[:, chosen].mean(axis=0)
    u, d, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs((u * d)[:, :5]), atol=1e-5)


def test_few_cells_still_have_two_components():
    one = sparse.csr_matrix(np.array([[1.0], [2.0]]))
    assert streamed_pca(lambda: iter([one]), n_genes=1, n_components=5).shape == (2, 2)


def written_from_real_cells(shared, path, accepted_genes):
    """Write a hundred real blood cells, in small blocks."""
    folder = shared / "data" / "pbmc_multiome_100"
    rna = ad.read_h5ad(folder / "10xpbmc_rna_subset.h5ad")
    mdata = cells(rna.X.toarray().astype(int), ids=tuple(rna.var["gene_ids"]), tissue="PBMC")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csr_files, "BLOCK_ENTRIES", 1000)
        write_cellxgene(
            MultiomeRows.of(mdata),
            path,
            title="PBMC",
            sample_terms=None,
            accepted_genes=accepted_genes,
        )


@OLD_FILE
def test_real_cells_keep_their_genes(shared, tmp_path):
    written_from_real_cells(shared, tmp_path / "pbmc.h5ad", None)
    made = ad.read_h5ad(tmp_path / "pbmc.h5ad")
    assert made.shape == (100, 10_000)
    assert made.var_names.str.fullmatch(r"ENSG\d{11}").all()
    assert made.obsm["X_pca"].shape == (100, 50)
    assert np.isfinite(made.obsm["X_pca"]).all()


@OLD_FILE
@pytest.mark.slow
def test_validator_of_cellxgene_accepts_real_cells(shared, tmp_path):
    program = shutil.which("cellxgene-schema")
    if program is None:
        pytest.skip("cellxgene-schema is not on PATH; it needs an environment of its own")
    (genes,) = Path(program).parents[1].glob("lib/*/site-packages/cellxgene_schema/" + GENE_LIST)
    written_from_real_cells(shared, tmp_path / "pbmc.h5ad", read_gene_list(genes))
    command = [program, "validate", str(tmp_path / "pbmc.h5ad")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ad.read_h5ad(tmp_path / "pbmc.h5ad").n_vars > 9_000
