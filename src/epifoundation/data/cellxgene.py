"""The RNA of a data set as CELLxGENE takes it: h5ad with ontology terms (its schema 7)."""

import io
import logging
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from epifoundation import __version__
from epifoundation.contracts import Table
from epifoundation.data.csr_files import RowAppender, check_room, take_columns
from epifoundation.data.expression import log_normalize
from epifoundation.data.multiome_rows import MultiomeRows
from epifoundation.data.streamed_pca import streamed_pca
from epifoundation.errors import DataError
from epifoundation.files import whole

logger = logging.getLogger(__name__)

HUMAN = "NCBITaxon:9606"
UNKNOWN = "unknown"
HUMAN_GENE = r"ENSG\d{11}"
N_COMPONENTS = 50
NEEDS_OBS = ("sample", "batch", "tissue", "donor", "cell_type")
# What the sheet does not tell of a sample, and its answer until somebody does.
TERMS = {
    "assay_ontology_term_id": "EFO:0030059",  # 10x multiome
    "development_stage_ontology_term_id": UNKNOWN,
    "disease_ontology_term_id": "PATO:0000461",  # normal: the schema has no unknown disease
    "self_reported_ethnicity_ontology_term_id": UNKNOWN,
    "sex_ontology_term_id": UNKNOWN,
    "suspension_type": "nucleus",
    "tissue_type": "tissue",
}
TOLD_BY_SHEET = ("donor_id", "tissue_ontology_term_id", "is_primary_data")
SAMPLE_TERMS = Table(made_by="hand", key=("sample",), dtypes={"sample": "str"})
# Columns of ours that travel along, under names that the schema does not reserve.
OWN_COLUMNS = {
    "sample": "sample",
    "batch": "batch",
    "cell_type": "author_cell_type",
    "tissue": "author_tissue",
    "label_score": "label_score",
    "label_margin": "label_margin",
    "cluster": "cluster",
}


def write_cellxgene(
    cells: MultiomeRows,
    output: Path | str,
    *,
    title: str,
    sample_terms: pd.DataFrame | None,
    accepted_genes: pd.Index | None,
) -> None:
    """Write the RNA of an assembled data set by CELLxGENE's rules, some cells at a time.

    `X` is log-normalised, `raw.X` the counts, both of the genes with a human Ensembl id (without
    version; of two alike the first), and of `accepted_genes` if given. `sample_terms` says of a
    sample (column `sample`) what the sheet does not, in columns named as in the schema.
    `obsm["X_pca"]` are principal components, since the schema asks for an embedding.
    """
    genes, place = _genes(cells.var("rna"), accepted_genes)
    obs = cell_terms(cells.obs, sample_terms)
    empty = sparse.csr_matrix((len(obs), len(genes)), dtype=np.float32)
    made = ad.AnnData(empty, obs=obs, var=pd.DataFrame(index=genes))
    made.raw = made.copy()
    made.var["feature_is_filtered"] = False
    made.uns = {
        "title": title,
        "organism_ontology_term_id": HUMAN,
        "made_by": f"epifoundation {__version__}",
        "default_embedding": "X_pca",
    }
    made.obsm["X_pca"] = streamed_pca(
        lambda: (normal for _, normal in _blocks(cells, place, len(genes))),
        n_genes=len(genes),
        n_components=N_COMPONENTS,
    )
    with whole(output) as partial:
        check_room(partial, 2 * int(obs.memory_usage(deep=True).sum()) + made.obsm["X_pca"].nbytes)
        made.write_h5ad(partial, compression="lzf")
        with h5py.File(partial, "r+") as file:
            single = np.dtype(np.float32)
            with RowAppender([file["X"], file["raw/X"]], [single, single]) as rows:
                for counts, normal in _blocks(cells, place, len(genes)):
                    rows.append(counts, normal.data, counts.data.astype(single))
    logger.info("%s: %d cells × %d genes", title, len(obs), len(genes))


def cell_terms(obs: pd.DataFrame, sample_terms: pd.DataFrame | None) -> pd.DataFrame:
    """Return the obs of the schema, and our columns, of cells of an assembled data set."""
    text = {name: obs[name].astype(str).to_numpy(dtype=object) for name in NEEDS_OBS}
    donor = pd.Series(text["donor"]).replace("", UNKNOWN).to_numpy(dtype=object)
    terms = pd.DataFrame([TERMS] * len(obs), index=obs.index)
    terms = terms.assign(donor_id=donor, is_primary_data="False")  # published elsewhere before
    by_name = {name.lower(): term for name, term in tissue_terms().items()}
    tissue = pd.Series(text["tissue"], index=obs.index)
    terms["tissue_ontology_term_id"] = tissue.str.lower().str.replace("_", " ").map(by_name)
    ontology_id = obs["cell_ontology_id"] if "cell_ontology_id" in obs else pd.Series("", obs.index)
    terms["cell_type_ontology_term_id"] = ontology_id.astype(str).replace("", UNKNOWN)
    if sample_terms is not None:
        _override(terms, pd.Series(text["sample"], index=obs.index), sample_terms)
    nowhere = terms["tissue_ontology_term_id"].isna()
    if nowhere.any():
        message = (
            f"{nowhere.sum()} of {len(obs)} cells are of a tissue without a UBERON term:"
            f" {', '.join(sorted(set(tissue[nowhere])))}. Give tissue_ontology_term_id of their"
            " samples in cellxgene.sample_terms."
        )
        raise DataError(message)
    _log_assumed(terms)
    own = {new: obs[name] for name, new in OWN_COLUMNS.items() if name in obs}
    primary = terms["is_primary_data"].astype(str).str.lower() == "true"
    told = terms.drop(columns="is_primary_data").astype("category")
    return told.assign(is_primary_data=primary, **own)


def read_terms(path: Path | str | None) -> pd.DataFrame | None:
    """Return a TSV of terms by sample, all as text; None where there is none."""
    if not path:
        return None
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    SAMPLE_TERMS.check(table, path)
    return table


def read_gene_list(path: Path | str | None) -> pd.Index | None:
    """Return the first column of a CSV without header; None where there is none."""
    return None if not path else pd.Index(pd.read_csv(path, header=None, usecols=[0])[0])


def tissue_terms() -> dict[str, str]:
    """Return the UBERON term of each tissue name that is known."""
    text = resources.files("epifoundation.data").joinpath("tissue_terms.tsv").read_text()
    table = pd.read_csv(io.StringIO(text), sep="\t", dtype=str)
    return dict(zip(table["tissue"], table["tissue_ontology_term_id"], strict=True))


def _override(terms: pd.DataFrame, sample: pd.Series, told: pd.DataFrame) -> None:
    allowed = [*TERMS, *TOLD_BY_SHEET]
    strange = [str(name) for name in told if name not in ("sample", *allowed)]
    if strange:
        message = (
            f"cellxgene.sample_terms has columns {', '.join(strange)};"
            f" known are {', '.join(allowed)}"
        )
        raise DataError(message)
    by_sample = told.set_index("sample")
    for name in by_sample:
        values = sample.map(by_sample[name].replace("", None).dropna())
        terms[name] = values.where(values.notna(), terms[name])


def _log_assumed(terms: pd.DataFrame) -> None:
    for name, value in TERMS.items():
        assumed = int((terms[name] == value).sum())
        logger.info("%s is %s for %d of %d cells", name, value, assumed, len(terms))
    unknown = (terms["cell_type_ontology_term_id"] == UNKNOWN).sum()
    logger.info("%d of %d cells have a type without a Cell Ontology id", unknown, len(terms))


def _genes(var: pd.DataFrame, accepted: pd.Index | None) -> tuple[pd.Index, NDArray[np.int64]]:
    """Return the ids kept, and where each gene of `var` stands among them; -1 for nowhere."""
    given = var["gene_id"] if "gene_id" in var else pd.Series("", index=var.index)
    ids = given.astype(str).str.replace(r"\.\d+$", "", regex=True)
    human = ids.str.fullmatch(HUMAN_GENE).to_numpy(dtype=bool)
    known = human if accepted is None else human & ids.isin(accepted).to_numpy()
    kept = known & ~ids.duplicated().to_numpy()
    logger.info(
        "genes: %d of %d kept; %d have no human Ensembl id, %d are unknown to CELLxGENE, %d repeat",
        *(kept.sum(), len(ids), (~human).sum(), (human & ~known).sum(), (known & ~kept).sum()),
    )
    if not kept.any():
        message = (
            f"none of {len(ids)} genes has a human Ensembl id that CELLxGENE knows (e.g."
            f" {', '.join(ids[:3])}), so it cannot take these cells; simulated genes have none"
        )
        raise DataError(message)
    place = np.where(kept, np.cumsum(kept) - 1, -1)
    return pd.Index(ids[kept].to_numpy(dtype=object)), place


def _blocks(
    cells: MultiomeRows, place: NDArray[np.int64], n_genes: int
) -> Iterator[tuple[sparse.csr_matrix, sparse.csr_matrix]]:
    """Yield counts and log-normalised values; a cell without any count is an error."""
    start = 0
    for block in cells.blocks("rna"):
        counts = take_columns(block, place, n_genes)
        empty = np.flatnonzero(np.diff(counts.indptr) == 0)
        if len(empty):
            message = (
                f"{len(empty)} cells have no count in the {n_genes} genes that CELLxGENE takes"
                f" (first: {cells.obs.index[start + empty[0]]}). Raise qc.min_rna_umis."
            )
            raise DataError(message)
        start += counts.shape[0]
        yield counts, log_normalize(counts).astype(np.float32)
