"""What each figure and table shows, in a sentence."""

FIGURES = {
    "figure1": "Figure 1. All cells of the atlas by tissue and by cell type (UMAP of the embedding"
    " of EpiFoundation).",
    "figure3": "Figure 3. Softmax scores of the test cells by predicted type.",
    "figure4": "Figure 4. Test cells as each method embeds them, by cell type and by batch.",
    "figure5": "Figure 5. Test cells as each method embeds them, by cell type and by batch.",
    "figure6": "Figure 6. Softmax scores of the test cells by predicted type.",
    "ablation": "What each ablation changes, metric by metric.",
    "ranks": "Mean rank of each method over the data sets, metric by metric.",
    "confusion": "Which types EpiFoundation takes for which: share of the true type's test cells.",
    "calibration": "How often the predicted type is right, by its score; larger marks are more"
    " cells. The error is the mean gap between score and share right.",
    "genes": "Predicted against true level of genes in the test cells; the line is the mean"
    " prediction of each true level.",
    "training_curves": "Loss by epoch of training and validation cells; the dot is the epoch kept.",
}


def caption_of(name: str) -> str:
    """Return the caption of a figure, or its name where it has none."""
    return FIGURES.get(name, name.replace("_", " "))
