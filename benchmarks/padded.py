"""What the packed network is compared with: the same weights on padded minibatches.

`real` attention is over the real tokens of each cell, as the authors' flash path does: tokens are
taken out before and laid back after, in every block. `padded` attention is over all positions, with
a mask. Everything else is done at every position of 12,000 peaks and 8,000 genes, in all rows of
the last block, and the decoder's first layer reads the concatenation of cell and gene.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from epifoundation.model.losses import Loss, cross_entropy
from epifoundation.model.network import EpiFoundation, GeneDecoder, TransformerBlock
from epifoundation.model.packing import PackedCells, PackedGenes

PEAK_POSITIONS, GENE_POSITIONS = 12_000, 8_000  # [CLS] among the first, as in the authors' code
NO_TARGET = 2


@dataclass(frozen=True)
class PaddedCells:
    """Peaks (n_cells, 12,000) and genes (n_cells, 8,000), 0 where there is none."""

    peak_ids: Tensor
    gene_ids: Tensor
    targets: Tensor
    batch_ids: Tensor


def pad(cells: PackedCells, genes: PackedGenes) -> PaddedCells:
    """Return the same cells, padded."""
    assert cells.batch_ids is not None
    n_genes = torch.bincount(genes.cell_index, minlength=cells.n_cells).tolist()
    peaks = torch.split(cells.token_ids, cells.cu_seqlens.diff().tolist())
    return PaddedCells(
        peak_ids=_laid_out(peaks, PEAK_POSITIONS, 0),
        gene_ids=_laid_out(torch.split(genes.gene_ids, n_genes), GENE_POSITIONS, 0),
        targets=_laid_out(torch.split(genes.targets, n_genes), GENE_POSITIONS, NO_TARGET),
        batch_ids=cells.batch_ids,
    )


def _laid_out(parts: tuple[Tensor, ...], positions: int, filling: int) -> Tensor:
    rows = torch.full((len(parts), positions), filling)
    for row, part in zip(rows, parts, strict=True):
        row[: len(part)] = part
    return rows


@dataclass(frozen=True)
class PaddedNetwork:
    """The network's weights, used the padded way."""

    network: EpiFoundation
    padded_attention: bool

    def embed(self, cells: PaddedCells) -> Tensor:
        """Return the cell embeddings, (n_cells, d_model)."""
        network = self.network
        x = self._input(cells.peak_ids, network.peak_embedding, network.peak_chromosomes)
        x = _over_positions(network.peak_batch_norm, network.dropout(x))
        real = cells.peak_ids > 0
        for block in network.blocks:
            assert isinstance(block, TransformerBlock)
            x = self._block(block, x, real)
        z: Tensor = network.norm(x)[:, 0]
        return z

    def loss(self, cells: PaddedCells) -> Loss:
        """Return the loss of pretraining over the real genes."""
        network = self.network
        z = torch.cat([self.embed(cells), network.batch_embedding(cells.batch_ids)], dim=1)
        g = self._input(cells.gene_ids, network.gene_embedding, network.gene_chromosomes)
        g = _over_positions(network.gene_batch_norm, network.dropout(g))
        logits = _decode(network.gene_decoder, z, g).flatten(0, 1)
        real = cells.targets.flatten() != NO_TARGET
        return cross_entropy(logits[real], cells.targets.flatten()[real])

    def _input(self, ids: Tensor, embedding: torch.nn.Module, chromosomes: Tensor) -> Tensor:
        x: Tensor = embedding(ids) + self.network.chromosome_embedding(chromosomes[ids])
        return x

    def _block(self, block: TransformerBlock, x: Tensor, real: Tensor) -> Tensor:
        qkv = block.attention.qkv(x)
        attended = block.attention.out(
            self._over_all(block, qkv, real)
            if self.padded_attention
            else self._of_real(block, qkv, real)
        )
        x = block.norm1(x + block.dropout(attended))
        hidden = block.dropout(functional.relu(block.linear1(x)))
        out: Tensor = block.norm2(x + block.dropout(block.linear2(hidden)))
        return out

    def _over_all(self, block: TransformerBlock, qkv: Tensor, real: Tensor) -> Tensor:
        n_cells, n_positions, _ = qkv.shape
        heads = (n_cells, n_positions, block.attention.n_heads, block.attention.head_dim)
        query, key, value = (part.view(heads).transpose(1, 2) for part in qkv.chunk(3, dim=2))
        mask = real[:, None, None, :]
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return attended.transpose(1, 2).flatten(2)

    def _of_real(self, block: TransformerBlock, qkv: Tensor, real: Tensor) -> Tensor:
        heads = (-1, block.attention.n_heads, block.attention.head_dim)
        taken = qkv[real]
        parts = []
        for cell in torch.split(taken, real.sum(dim=1).tolist()):
            query, key, value = (
                part.view(heads).transpose(0, 1)[None] for part in cell.chunk(3, dim=1)
            )
            attended = functional.scaled_dot_product_attention(query, key, value)
            parts.append(attended[0].transpose(0, 1).flatten(1))
        laid_back = qkv.new_zeros(*real.shape, heads[1] * heads[2])
        return laid_back.masked_scatter(real[:, :, None], torch.cat(parts))


def _over_positions(norm: torch.nn.Module, x: Tensor) -> Tensor:
    normal: Tensor = norm(x.flatten(0, 1)).view_as(x)
    return normal


def _decode(decoder: GeneDecoder, z: Tensor, genes: Tensor) -> Tensor:
    query = torch.sigmoid(decoder.gene2query(genes))
    both = torch.cat([z[:, None].expand(-1, genes.shape[1], -1), query], dim=2)
    logits: Tensor = decoder.fc2(decoder.hidden_activation(decoder.fc1(both)))
    return logits
