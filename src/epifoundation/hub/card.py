"""The README of a model directory."""

from typing import TYPE_CHECKING

from epifoundation import __version__

if TYPE_CHECKING:
    from epifoundation.hub.directory import FoundationModel


def model_card(model: "FoundationModel") -> str:
    """Return what a reader of the folder wants to know, and how to use the model."""
    config, vocabulary = model.design.config, model.vocabulary
    n_parameters = sum(parameter.numel() for parameter in model.network.parameters())
    made = "\n".join(f"- {name}: {value}" for name, value in model.told.items())
    metrics = "\n".join(f"- {name}: {value:.4g}" for name, value in model.metrics.items())
    return f"""# EpiFoundation model

Reads the accessible peaks of a cell, gives an embedding of the cell.

## Made by
{made or "- not said"}
- package: epifoundation {__version__}

## Size
- {n_parameters:,} parameters: {config.n_layers} blocks, width {config.d_model}, \
{config.n_heads} heads
- {vocabulary.n_peaks:,} peaks (`peaks.bed.gz`), {vocabulary.n_genes:,} genes (`genes.tsv`), \
{len(vocabulary.chromosomes)} chromosomes, {len(vocabulary.batches)} batches
- heads: {", ".join(model.design.heads)}; {len(model.cell_types)} cell types
- batch embedding in pretraining: {model.design.use_batch}; chromosome embedding: \
{model.design.use_chromosome}

## Validation
{metrics or "- none recorded"}

## Use
```python
import anndata
import epifoundation

model = epifoundation.from_pretrained("path/to/this/folder")
cells = anndata.read_h5ad("cells_by_peaks.h5ad", backed="r")
cells.obsm["X_epifoundation"] = model.embed(cells)
```
or `epifoundation embed --model path/to/this/folder --matrix cells_by_peaks.h5ad --output O.h5ad`.
The columns of the matrix must be peaks of `peaks.bed.gz` (vocabulary {vocabulary.hash}).
"""
