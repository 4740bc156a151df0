"""The network of the paper's section 3.3, in its order; where the paper is silent, the authors'.

Symbols in comments are the paper's. Everything is packed: no tensor has a padded position.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from epifoundation.config import ModelConfig
from epifoundation.model.attention import Segments, packed_attention
from epifoundation.model.batch_norm import Padding, TokenBatchNorm
from epifoundation.model.packing import PackedCells, PackedGenes
from epifoundation.model.parts import INITIALISATIONS, POOLINGS, depth_input

N_SPECIAL = 4  # PAD MASK CLS EOS precede peaks, genes and chromosomes
PAD = 0
DECODER_WIDTH = 128  # the authors' gene decoder

Head = Literal["genes", "cell_types", "expression"]


@dataclass(frozen=True)
class Sizes:
    """Entries of the vocabularies, special tokens not counted; zero where a part is not built."""

    n_peaks: int
    n_genes: int
    n_chromosomes: int
    n_batches: int = 0
    n_cell_types: int = 0


class NormedEmbedding(nn.Module):
    """Look-up table followed by LayerNorm, for which only the direction of a row matters.

    `std` is how large entries are at the start: with Adam, starting s times smaller is learning
    the table 1/s times faster.
    """

    def __init__(
        self, n_rows: int, d_model: int, std: float, *, padding_idx: int | None = None
    ) -> None:
        super().__init__()
        self.table = nn.Embedding(n_rows, d_model, padding_idx=padding_idx)
        with torch.no_grad():
            self.table.weight.mul_(std)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, ids: Tensor) -> Tensor:
        """Return (…, d_model) for ids (…)."""
        embedded: Tensor = self.norm(self.table(ids))
        return embedded


class SelfAttention(nn.Module):
    """Multi-head attention among the peaks of each cell."""

    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.head_dim, self.dropout = n_heads, d_model // n_heads, dropout
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, cells: PackedCells, *, cls_only: bool) -> Tensor:
        """Return (n_tokens, d_model), or (n_cells, d_model) for the [CLS] rows only."""
        tokens = Segments(cells.cu_seqlens, cells.max_seqlen)
        heads = (-1, self.n_heads, self.head_dim)
        if cls_only:
            d_model = x.shape[1]
            weight, bias = self.qkv.weight, self.qkv.bias
            first = x[cells.cu_seqlens[:-1]]
            query = functional.linear(first, weight[:d_model], bias[:d_model]).view(heads)
            key, value = functional.linear(x, weight[d_model:], bias[d_model:]).chunk(2, dim=1)
            queries = Segments(_one_each(cells), 1)
        else:
            query, key, value = self.qkv(x).chunk(3, dim=1)
            query, queries = query.reshape(heads), tokens
        attended = packed_attention(
            query,  # (n_tokens or n_cells, n_heads, head_dim)
            key.reshape(heads),  # (n_tokens, n_heads, head_dim)
            value.reshape(heads),
            queries,
            tokens,
            dropout=self.dropout if self.training else 0.0,
        )
        projected: Tensor = self.out(attended.flatten(1))  # (n_tokens or n_cells, d_model)
        return projected


def _one_each(cells: PackedCells) -> Tensor:
    return torch.arange(cells.n_cells + 1, dtype=torch.int32, device=cells.cu_seqlens.device)


class TransformerBlock(nn.Module):
    """Post-norm block: attention, then a ReLU feed-forward, each added and normalised."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d_model = config.d_model
        self.attention = SelfAttention(d_model, config.n_heads, config.dropout)
        self.linear1 = nn.Linear(d_model, config.d_feedforward)
        self.linear2 = nn.Linear(config.d_feedforward, d_model)
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cells: PackedCells, *, cls_only: bool = False) -> Tensor:
        """Return (n_tokens, d_model), or (n_cells, d_model) for the [CLS] rows only."""
        attended = self.attention(x, cells, cls_only=cls_only)
        residual = x[cells.cu_seqlens[:-1]] if cls_only else x
        x = self.norm1(residual + self.dropout(attended))
        hidden = self.dropout(functional.relu(self.linear1(x), inplace=True))
        out: Tensor = self.norm2(x + self.dropout(self.linear2(hidden)))
        return out


class GeneDecoder(nn.Module):
    """D_pre and D_exp: a few outputs for each pair of a cell and a gene (eq. 9, 13).

    `fc1` acts on the concatenation of cell and gene; since it is linear it is applied to the two
    parts apart and the results are added, once per cell and once per gene.
    """

    def __init__(self, cell_width: int, d_model: int, n_outputs: int) -> None:
        super().__init__()
        self.cell_width = cell_width
        self.gene2query = nn.Linear(d_model, DECODER_WIDTH)
        self.fc1 = nn.Linear(cell_width + DECODER_WIDTH, DECODER_WIDTH)
        self.hidden_activation = nn.PReLU()
        self.fc2 = nn.Linear(DECODER_WIDTH, n_outputs)

    def forward(self, cells: Tensor, genes: Tensor, cell_index: Tensor) -> Tensor:
        """Return (n_pairs, n_outputs) for cells (n_cells, width), genes (n_pairs, d_model)."""
        hidden = self._of_cells(cells)[cell_index] + self._of_genes(genes)
        return self._out(hidden)

    def every_gene(self, cells: Tensor, genes: Tensor) -> Tensor:
        """Return (n_cells, n_genes, n_outputs) for genes (n_genes, d_model)."""
        return self._out(self._of_cells(cells)[:, None] + self._of_genes(genes)[None])

    def _of_cells(self, cells: Tensor) -> Tensor:
        return functional.linear(cells, self.fc1.weight[:, : self.cell_width], self.fc1.bias)

    def _of_genes(self, genes: Tensor) -> Tensor:
        queries = torch.sigmoid(self.gene2query(genes))
        return functional.linear(queries, self.fc1.weight[:, self.cell_width :])

    def _out(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.hidden_activation(hidden))
        return out


class CellTypeHead(nn.Module):
    """D_cell (eq. 11)."""

    def __init__(self, d_model: int, n_cell_types: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(d_model, d_model),
            nn.ReLU(),
            nn.LayerNorm(d_model),
            nn.Linear(d_model, d_model),
            nn.ReLU(),
            nn.LayerNorm(d_model),
        )
        self.out = nn.Linear(d_model, n_cell_types)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return (n_cells, n_cell_types)."""
        logits: Tensor = self.out(self.layers(embeddings))
        return logits


class EpiFoundation(nn.Module):
    """Peaks of a cell in, its embedding out; heads for genes, cell types and expression levels.

    Parameters
    ----------
    peak_chromosomes, gene_chromosomes
        (n_peaks + 4,) and (n_genes + 4,) integers: chromosome id of each token, of special tokens
        the special chromosome of the same id.
    heads
        `genes` (pretraining), `cell_types`, `expression` (fine-tuning).
    use_batch
        Concatenate the batch embedding for the head `genes` (eq. 7).
    use_chromosome
        Add chromosome embeddings to peaks and genes (eq. 5).

    Attributes
    ----------
    checkpointed
        Recompute blocks in the backward pass instead of keeping what they computed: the same
        gradients, about a third more work, and memory of one block at a time. Off at first.
    """

    checkpointed: bool = False

    peak_chromosomes: Tensor
    gene_chromosomes: Tensor

    def __init__(
        self,
        config: ModelConfig,
        sizes: Sizes,
        *,
        peak_chromosomes: Tensor,
        gene_chromosomes: Tensor,
        heads: Collection[Head],
        use_batch: bool = True,
        use_chromosome: bool = True,
    ) -> None:
        super().__init__()
        d_model, std = config.d_model, config.embedding_std
        self.config, self.sizes, self.heads = config, sizes, tuple(heads)
        self.use_batch, self.use_chromosome = use_batch, use_chromosome
        self.register_buffer("peak_chromosomes", peak_chromosomes.long(), persistent=False)
        self.register_buffer("gene_chromosomes", gene_chromosomes.long(), persistent=False)
        assert len(peak_chromosomes) == sizes.n_peaks + N_SPECIAL
        assert len(gene_chromosomes) == sizes.n_genes + N_SPECIAL

        self.peak_embedding = NormedEmbedding(
            sizes.n_peaks + N_SPECIAL, d_model, std, padding_idx=0
        )
        if use_chromosome:
            self.chromosome_embedding = NormedEmbedding(
                sizes.n_chromosomes + N_SPECIAL, d_model, std
            )
        self.dropout = nn.Dropout(config.dropout)
        self.peak_batch_norm = TokenBatchNorm(d_model)
        self.depth_input = depth_input(config.depth_input, d_model)
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.n_layers))
        INITIALISATIONS[config.initialisation](self.blocks)
        self.norm = nn.LayerNorm(d_model)
        self.pooling = POOLINGS[config.pooling]()

        if "genes" in heads or "expression" in heads:
            self.gene_embedding = NormedEmbedding(
                sizes.n_genes + N_SPECIAL, d_model, std, padding_idx=0
            )
            self.gene_batch_norm = TokenBatchNorm(d_model)
        if "genes" in heads:
            if use_batch:
                self.batch_embedding = NormedEmbedding(sizes.n_batches, d_model, std)
            self.gene_decoder = GeneDecoder(d_model * (1 + use_batch), d_model, n_outputs=2)
        if "cell_types" in heads:
            self.cell_type_head = CellTypeHead(d_model, sizes.n_cell_types)
        if "expression" in heads:
            self.expression_decoder = GeneDecoder(d_model, d_model, n_outputs=1)

    def forward(self, cells: PackedCells) -> Tensor:
        """Return the cell embeddings z_c, (n_cells, d_model) (section 3.3.2)."""
        x = self._input(cells.token_ids, self.peak_embedding, self.peak_chromosomes)
        n_padded = cells.n_cells * (self.config.max_peaks + 1) - cells.n_tokens
        x = self.peak_batch_norm(self.dropout(x), self._padding(self.peak_embedding, n_padded))
        x = self.depth_input(x, cells)  # Z_0
        for block in self.blocks[:-1]:
            x = self._run(block, x, cells, cls_only=False)  # Z_l, (n_tokens, d_model)
        x = self._run(self.blocks[-1], x, cells, cls_only=not self.pooling.needs_every_token)
        z: Tensor = self.pooling(self.norm(x), cells)
        return z

    def _run(self, block: nn.Module, x: Tensor, cells: PackedCells, *, cls_only: bool) -> Tensor:
        if self.checkpointed:
            out: Tensor = checkpoint(block, x, cells, cls_only=cls_only, use_reentrant=False)
        else:
            out = block(x, cells, cls_only=cls_only)
        return out

    def gene_logits(self, z: Tensor, cells: PackedCells, genes: PackedGenes) -> Tensor:
        """Return logits of unexpressed and expressed, (n_pairs, 2) (eq. 9)."""
        asked = self._genes(genes.gene_ids, n_cells=len(z))
        if self.use_batch:
            assert cells.batch_ids is not None, "pretraining with batches needs batch_ids"
            z = torch.cat([z, self.batch_embedding(cells.batch_ids)], dim=1)  # eq. 7
        logits: Tensor = self.gene_decoder(z, asked, genes.cell_index)
        return logits

    def cell_type_logits(self, z: Tensor) -> Tensor:
        """Return (n_cells, n_cell_types) (eq. 11)."""
        logits: Tensor = self.cell_type_head(z)
        return logits

    def expression_levels(self, z: Tensor, genes: PackedGenes) -> Tensor:
        """Return the predicted level of each pair, (n_pairs,) (eq. 13)."""
        asked = self._genes(genes.gene_ids, n_cells=len(z))
        levels: Tensor = self.expression_decoder(z, asked, genes.cell_index)
        return levels[:, 0]

    def every_expression_level(self, z: Tensor, gene_ids: Tensor) -> Tensor:
        """Return the predicted levels of the same genes in all cells, (n_cells, n_genes)."""
        asked = self._genes(gene_ids, n_cells=1)
        return self.expression_decoder.every_gene(z, asked)[:, :, 0]

    def _genes(self, gene_ids: Tensor, n_cells: int) -> Tensor:
        g = self._input(gene_ids, self.gene_embedding, self.gene_chromosomes)
        n_padded = n_cells * self.config.max_genes - len(gene_ids)
        padding = self._padding(self.gene_embedding, n_padded)
        normed: Tensor = self.gene_batch_norm(self.dropout(g), padding)  # eq. 8, (n_pairs, d_model)
        return normed

    def _input(self, ids: Tensor, embedding: NormedEmbedding, chromosomes: Tensor) -> Tensor:
        x: Tensor = embedding(ids)
        if self.use_chromosome:
            # Normalised rows of the few chromosomes, then looked up; the same numbers, less work.
            table = self.chromosome_embedding.norm(self.chromosome_embedding.table.weight)
            x = x + functional.embedding(chromosomes[ids.long()], table)  # eq. 5
        return x

    def _padding(self, embedding: NormedEmbedding, count: int) -> Padding | None:
        """Return the padded positions that statistics count; null: none."""
        if self.config.batch_norm == "real" or not self.training:
            return None
        pad = torch.full((1,), PAD, device=self.peak_chromosomes.device)
        row = embedding(pad)[0]
        if self.use_chromosome:
            row = row + self.chromosome_embedding(pad)[0]
        assert count >= 0, "more tokens than a padded minibatch has positions"
        # Dropout keeps the mean of an entry and divides its mean square by the share it keeps.
        return Padding(row, row.square() / (1 - self.dropout.p), count)
