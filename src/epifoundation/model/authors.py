"""Names of the authors' parameters, one to one with ours."""

import re

from torch import Tensor

# The start of their name, and of ours; a later rule sees what an earlier one made.
RENAMED = (
    (r"^atac_emb\.", "peak_embedding."),
    (r"^rna_emb\.", "gene_embedding."),
    (r"^chr_emb\.", "chromosome_embedding."),
    (r"^batch_emb\.", "batch_embedding."),
    (r"^(\w+_embedding)\.embedding\.", r"\1.table."),
    (r"^(\w+_embedding)\.enc_norm\.", r"\1.norm."),
    (r"^encoder\.transformer_encoder\.layers\.", "blocks."),
    (r"^(blocks\.\d+)\.self_attn\.Wqkv\.", r"\1.attention.qkv."),
    (r"^(blocks\.\d+)\.self_attn\.out_proj\.", r"\1.attention.out."),
    (r"^bn_atac\.", "peak_batch_norm."),
    (r"^bn_rna\.", "gene_batch_norm."),
    (r"^cls_decoder\._decoder\.", "cell_type_head.layers."),
    (r"^cls_decoder\.out_layer\.", "cell_type_head.out."),
    (r"^mvc_decoder\.", "gene_decoder."),
    (r"^value_decoder\.", "expression_decoder."),
)


def rename_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the authors' state dict under the names of `EpiFoundation`."""
    return {_ours(name): tensor for name, tensor in state.items()}


def _ours(name: str) -> str:
    for theirs, ours in RENAMED:
        name = re.sub(theirs, ours, name)
    return name
