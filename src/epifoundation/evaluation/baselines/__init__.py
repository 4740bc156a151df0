"""The methods beside EpiFoundation: one registry per task, one row per method."""

from epifoundation.evaluation.baselines.annotation import depth_logistic, lsi_logistic, majority
from epifoundation.evaluation.baselines.cells import Annotator, Embedder, Predictor
from epifoundation.evaluation.baselines.expression import (
    depth_linear,
    gene_activity_levels,
    gene_activity_log,
    gene_mean,
    lsi_ridge,
)
from epifoundation.evaluation.baselines.liger import embed_liger
from epifoundation.evaluation.baselines.linear import embed_harmony, embed_pca, embed_randomly
from epifoundation.evaluation.baselines.scanvi import embed_scanvi

UNLABELLED = "all cells, unlabelled"

INTEGRATION = {
    "pca": Embedder(embed_pca, UNLABELLED, "none"),
    "harmony": Embedder(embed_harmony, UNLABELLED, "none"),
    "liger": Embedder(embed_liger, UNLABELLED, "none"),
    "scanvi": Embedder(embed_scanvi, "all cells, labelled", "test"),
    "random": Embedder(embed_randomly, "none", "none"),
}
ANNOTATION = {
    "majority": Annotator(majority, "fit", "train"),
    "depth_only": Annotator(depth_logistic, "fit", "train"),
    "lsi_logistic": Annotator(lsi_logistic, "fit", "train"),
}
EXPRESSION = {
    "gene_activity": Predictor(gene_activity_levels, "none", "none"),
    "gene_activity_log": Predictor(gene_activity_log, "none", "none"),
    "gene_mean": Predictor(gene_mean, "fit", "train"),
    "depth_only": Predictor(depth_linear, "fit", "train"),
    "lsi_ridge": Predictor(lsi_ridge, "fit", "train"),
}
