"""From cells × peaks, in memory or in a file, to embeddings; nothing is trained."""

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import anndata as ad
import numpy as np
import torch
from numpy.typing import NDArray

from epifoundation.errors import DataError
from epifoundation.files import progress_line, with_progress
from epifoundation.hub import FoundationModel
from epifoundation.inference.chunks import PeakMatrix
from epifoundation.inference.peaks import Tokens, tokens_of_columns
from epifoundation.inference.precision import choose_device, inference_precision, memory_named
from epifoundation.training.dataset import pack_cells, within_budget

logger = logging.getLogger(__name__)

BATCH_TOKENS = 32_768  # about 1 GB of activations at the paper's width
SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class View:
    """What is read of a cell in one pass: all of its peaks, or a crop of them."""

    cell: int
    tokens: Tokens
    n_peaks: int  # of the whole cell


def embed_matrix(
    model: FoundationModel,
    cells: ad.AnnData | PeakMatrix,
    *,
    layer: str | None = None,
    crops: int = 1,
    seed: int = 0,
    batch_tokens: int = BATCH_TOKENS,
    device: str | None = None,
    ignore_other_peaks: bool = False,
    skip_empty: bool = False,
) -> NDArray[np.float32]:
    """Return the embeddings of all cells, (n_cells, d_model), in their order.

    Parameters
    ----------
    cells
        Cells × peaks; an entry above zero is an accessible peak. Read in pieces if it is a file.
    layer
        Where the counts are; null: X.
    crops
        A cell with more peaks than the model reads is read so many times, each time other peaks of
        it, and the embeddings averaged.
    seed
        Decides, with a cell's barcode alone, which of its peaks are read.
    batch_tokens
        Tokens read at once: less takes less memory. The result does not depend on it.
    device
        `cpu` or `cuda`; null: a GPU if there is one.
    ignore_other_peaks
        Leave out peaks that are not the model's, instead of refusing them.
    skip_empty
        Give cells without peaks a row of NaN, instead of refusing them.
    """
    if crops < 1 or batch_tokens < 1 or seed < 0:
        message = (
            f"crops ({crops}) and batch tokens ({batch_tokens}) are at least 1, the seed ({seed})"
            " at least 0"
        )
        raise DataError(message)
    where = choose_device(device)
    matrix = cells if isinstance(cells, PeakMatrix) else PeakMatrix.of(cells, layer)
    matrix.check()
    column_tokens = tokens_of_columns(
        matrix.var, model.vocabulary, matrix.where, ignore_others=ignore_other_peaks
    )
    n_peaks = _peaks_of_cells(matrix, column_tokens, skip_empty=skip_empty)
    _tell_of_long_cells(n_peaks, model.design.config.max_peaks, crops)
    n_views = np.where(n_peaks > model.design.config.max_peaks, crops, 1)
    n_views[n_peaks == 0] = 0
    embeddings = np.zeros((matrix.n_cells, model.design.config.d_model), np.float32)
    views = _views(matrix, column_tokens, model.design.config.max_peaks, crops, seed)
    packs = (pack for chunk in views for pack in _packs(chunk, batch_tokens))
    advice = (
        f"Lower --batch-tokens (now {batch_tokens:,}); where the model or a single cell is too"
        " large for a GPU, use the CPU (--device cpu)."
    )
    with memory_named(where, advice), torch.inference_mode(), inference_precision(where):
        network = model.network.eval().to(where)
        for pack in _telling(packs, int(n_views.sum()), "cells" if crops == 1 else "crops"):
            np.add.at(embeddings, [view.cell for view in pack], _read(network, pack, where))
    with np.errstate(invalid="ignore"):  # a cell without peaks is 0 / 0, a row of NaN
        embeddings /= n_views[:, None].astype(np.float32)
    return embeddings


def _telling(packs: Iterable[list[View]], total: int, what: str) -> Iterator[list[View]]:
    """Yield the packs, logging every few seconds how many of their cells are done, and the rate."""
    began = told = time.monotonic()
    done = 0
    for pack in packs:
        yield pack
        done, now = done + len(pack), time.monotonic()
        if now - told > SECONDS_BETWEEN_LINES or done == total:
            told = now
            logger.info("%s", progress_line(f"{what} embedded", done, total, now - began))


def _read(network: torch.nn.Module, pack: list[View], device: torch.device) -> NDArray[np.float32]:
    cells = replace(
        pack_cells([view.tokens for view in pack]),
        n_peaks=torch.tensor([view.n_peaks for view in pack]),
    )
    values: NDArray[np.float32] = network(cells.to(device)).float().cpu().numpy()
    return values


def _peaks_of_cells(
    matrix: PeakMatrix, column_tokens: Tokens, *, skip_empty: bool
) -> NDArray[np.int64]:
    """Return how many peaks each cell has, (n_cells,); every value of the matrix is checked."""
    n_peaks = np.zeros(matrix.n_cells, np.int64)
    for start, chunk in with_progress(
        matrix.chunks(), "pieces of the matrix checked", logger=logger
    ):
        known = column_tokens[chunk.indices] > 0
        row = np.repeat(np.arange(chunk.shape[0]), np.diff(chunk.indptr))
        n_peaks[start : start + chunk.shape[0]] = np.bincount(row[known], minlength=chunk.shape[0])
    empty = np.flatnonzero(n_peaks == 0)
    if len(empty) == matrix.n_cells or (len(empty) and not skip_empty):
        message = (
            f"{matrix.where}: {len(empty):,} of {matrix.n_cells:,} cells have no accessible peak of"
            f" the model (first: {matrix.barcodes[empty[0]]}), so there is nothing to embed. Leave"
            " them out (--skip-empty), or check that the matrix holds peaks."
        )
        raise DataError(message)
    if len(empty):
        logger.warning("%s cells without peaks get no embedding (first: %s)", f"{len(empty):,}",
                       matrix.barcodes[empty[0]])  # fmt: skip
    return n_peaks


def _tell_of_long_cells(n_peaks: NDArray[np.int64], max_peaks: int, crops: int) -> None:
    n_long = int((n_peaks > max_peaks).sum())
    if n_long:
        logger.info(
            "%s of %s cells have more than the %s peaks the model reads: %s",
            f"{n_long:,}", f"{len(n_peaks):,}", f"{max_peaks:,}",
            f"{crops} crops of each are averaged" if crops > 1 else "they are subsampled",
        )  # fmt: skip


def _views(
    matrix: PeakMatrix, column_tokens: Tokens, max_peaks: int, crops: int, seed: int
) -> Iterator[list[View]]:
    """Yield what is to be read of the cells of each piece of the matrix."""
    for start, chunk in matrix.chunks():
        views = []
        for i in range(chunk.shape[0]):
            tokens = column_tokens[chunk.indices[chunk.indptr[i] : chunk.indptr[i + 1]]]
            tokens = np.sort(tokens[tokens > 0])  # the order of columns must not matter
            if len(tokens):
                draw = _generator(seed, matrix.barcodes[start + i])
                parts = crops_of(tokens, max_peaks, crops, draw)
                views += [View(start + i, part, len(tokens)) for part in parts]
        yield views


def crops_of(
    tokens: Tokens, max_peaks: int, n_crops: int, generator: np.random.Generator
) -> list[Tokens]:
    """Return all tokens if there are at most `max_peaks`, else `n_crops` draws of that many.

    The draws go through one random order of the tokens, round and round: together they miss a
    token only if they are too few to hold all. The first does not depend on how many there are.
    """
    if len(tokens) <= max_peaks:
        return [tokens]
    order = generator.permutation(tokens)
    places = np.arange(n_crops * max_peaks) % len(order)
    return [np.sort(order[part]) for part in places.reshape(n_crops, max_peaks)]


def _generator(seed: int, barcode: str) -> np.random.Generator:
    digest = hashlib.blake2b(barcode.encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "little")])


def _packs(views: list[View], batch_tokens: int) -> Iterator[list[View]]:
    """Yield cells of like length, as many as fit into `batch_tokens` and at least one."""
    ordered = sorted(views, key=lambda view: len(view.tokens))
    lengths = [len(view.tokens) + 1 for view in ordered]  # with their [CLS]
    yield from (ordered[part] for part in within_budget(lengths, batch_tokens))
