"""The methods beside EpiFoundation: one registry per task, one row per method.

Each is run in a process of its own (two seconds of starting), except where there is next to nothing
to compute, or, as with LIGER, where the method starts one itself.
"""

from epifoundation.evaluation.baselines import annotation, expression
from epifoundation.evaluation.baselines.cells import Annotator, Embedder, Predictor
from epifoundation.evaluation.baselines.liger import embed_liger
from epifoundation.evaluation.baselines.linear import (
    embed_harmony,
    embed_lsi,
    embed_pca,
    embed_randomly,
)
from epifoundation.evaluation.baselines.multivi import predict_multivi
from epifoundation.evaluation.baselines.peakvi import embed_peakvi
from epifoundation.evaluation.baselines.scanvi import annotate_scanvi, embed_scanvi

UNLABELLED = "all cells, unlabelled"

INTEGRATION = {
    "pca": Embedder(embed_pca, UNLABELLED, "none"),
    "harmony": Embedder(embed_harmony, UNLABELLED, "none"),
    "liger": Embedder(embed_liger, UNLABELLED, "none", apart=False),
    "scanvi": Embedder(embed_scanvi, "all cells, labelled", "test"),
    "lsi": Embedder(embed_lsi, UNLABELLED, "none"),
    "peakvi": Embedder(embed_peakvi, UNLABELLED, "none"),
    "random": Embedder(embed_randomly, "none", "none", apart=False),
}
ANNOTATION = {
    "majority": Annotator(annotation.majority, "fit", "train", apart=False),
    "depth_only": Annotator(annotation.depth_logistic, "fit", "train", apart=False),
    "lsi_logistic": Annotator(annotation.lsi_logistic, "fit", "train"),
    "lsi_neighbours": Annotator(annotation.lsi_neighbours, "fit", "train"),
    "binary_logistic": Annotator(annotation.binary_logistic, "fit", "train"),
    "binary_naive_bayes": Annotator(annotation.binary_naive_bayes, "fit", "train"),
    "scanvi": Annotator(annotate_scanvi, UNLABELLED, "train"),
}
EXPRESSION = {
    "gene_activity": Predictor(expression.gene_activity_levels, "none", "none", apart=False),
    "gene_activity_log": Predictor(
        expression.gene_activity_log, "none", "none", scale="log", apart=False
    ),
    "gene_activity_affine": Predictor(expression.gene_activity_affine, "fit", "train", apart=False),
    "gene_mean": Predictor(expression.gene_mean, "fit", "train", apart=False),
    "depth_only": Predictor(expression.depth_linear, "fit", "train", apart=False),
    "lsi_ridge": Predictor(expression.lsi_ridge, "fit", "train"),
    "lsi_neighbours": Predictor(expression.lsi_neighbours, "fit", "train"),
    "binary_ridge": Predictor(expression.binary_ridge, "fit", "train"),
    "multivi": Predictor(predict_multivi, UNLABELLED, "train"),
}
