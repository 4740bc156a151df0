"""Names of the authors' parameters, one to one with ours."""

from torch import Tensor

# A part of their name, and of ours; a later pair sees what an earlier one made.
RENAMED = (
    ("atac_emb.", "peak_embedding."),
    ("rna_emb.", "gene_embedding."),
    ("chr_emb.", "chromosome_embedding."),
    ("batch_emb.", "batch_embedding."),
    ("_embedding.embedding.", "_embedding.table."),
    ("_embedding.enc_norm.", "_embedding.norm."),
    ("encoder.transformer_encoder.layers.", "blocks."),
    (".self_attn.Wqkv.", ".attention.qkv."),
    (".self_attn.out_proj.", ".attention.out."),
    ("bn_atac.", "peak_batch_norm."),
    ("bn_rna.", "gene_batch_norm."),
    ("cls_decoder._decoder.", "cell_type_head.layers."),
    ("cls_decoder.out_layer.", "cell_type_head.out."),
    ("mvc_decoder.", "gene_decoder."),
    ("value_decoder.", "expression_decoder."),
)


def rename_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the authors' state dict under the names of `EpiFoundation`."""
    return {_ours(name): tensor for name, tensor in state.items()}


def _ours(name: str) -> str:
    for theirs, ours in RENAMED:
        name = name.replace(theirs, ours)
    return name


def authors_name(name: str) -> str:
    """Return what the authors call a parameter of `EpiFoundation`."""
    for theirs, ours in reversed(RENAMED):
        name = name.replace(ours, theirs)
    return name
